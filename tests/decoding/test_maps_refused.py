"""Maps that aren't on the scale of stored maps are refused by every decoder."""

import numpy as np
import pytest

from segpipe.decoding.boundary import (
    ContourDecoding,
    RegionDecoding,
    decode_contour,
    decode_region,
)
from segpipe.decoding.hv import HVDecoding, decode_hv
from segpipe.errors import MapsInvalid, ShapeMismatch

PROB = np.zeros((9, 7), np.uint8)
HV = np.zeros((2, 9, 7), np.int8)


def hv(prob, offsets):
    return decode_hv(prob, offsets, decoding=HVDecoding())


def region(prob):
    return decode_region(prob, decoding=RegionDecoding())


def contour(prob, outline):
    return decode_contour(prob, outline, decoding=ContourDecoding())


@pytest.mark.parametrize(
    ("decode", "maps", "error", "said"),
    [
        (hv, (PROB.astype(np.float32), HV), MapsInvalid, "prob.*found float32"),
        (hv, (np.full((9, 7), np.nan), HV), MapsInvalid, "found float64"),
        (hv, (PROB, HV.astype(np.float32)), MapsInvalid, "hv.*found float32"),
        (hv, (PROB, HV - np.int8(127) - np.int8(1)), MapsInvalid, "126 of 126"),
        (hv, (PROB, HV[:, :8]), ShapeMismatch, r"\(2, 8, 7\)"),
        (hv, (PROB[None], HV), ShapeMismatch, r"\(1, 9, 7\)"),
        (region, (PROB.astype(bool),), MapsInvalid, "found bool"),
        (contour, (PROB, PROB.astype(np.int16)), MapsInvalid, "contour.*int16"),
        (contour, (PROB, PROB[:3]), ShapeMismatch, r"\(3, 7\)"),
    ],
)
def test_maps_off_scale_or_of_unequal_shape_are_refused(decode, maps, error, said):
    with pytest.raises(error, match=said):
        decode(*maps)
