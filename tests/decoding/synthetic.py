"""Label maps like tissue, and the maps a perfect or a noisy network would give."""

import numpy as np
from scipy import ndimage

from segpipe.decoding.boundary import (
    ContourDecoding,
    RegionDecoding,
    decode_contour,
    decode_region,
)
from segpipe.targets import contour_target, hv_target, separation_line


def ellipses(rng, shape, n_nuclei, radius=(3.0, 9.0)):
    """Draw ellipses over each other, so that many touch; every id is one piece."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for label in range(1, n_nuclei + 1):
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        a, b = rng.uniform(*radius, 2)
        turn = rng.uniform(0, np.pi)
        u = (rows - y) * np.cos(turn) + (cols - x) * np.sin(turn)
        v = (cols - x) * np.cos(turn) - (rows - y) * np.sin(turn)
        inside = (u / a) ** 2 + (v / b) ** 2 <= 1
        labels[inside & (labels == 0)] = label
    return labels


def maps_of(labels, rng=None, noise=0.0, blur=0.0):
    """Return (prob, hv) quantised as a network's, blurred and with noise."""
    prob = (labels > 0).astype(np.float32)
    hv = hv_target(labels).astype(np.float32)
    if blur:
        prob = ndimage.gaussian_filter(prob, blur)
        hv = np.stack([ndimage.gaussian_filter(plane, blur) for plane in hv])
    if noise:
        prob = prob + rng.normal(0, noise, prob.shape)
        hv = hv + rng.normal(0, noise, hv.shape)
    return (
        np.clip(np.round(prob * 255), 0, 255).astype(np.uint8),
        np.clip(np.round(hv * 127), -127, 127).astype(np.int8),
    )


def _region_maps(labels):
    return [(labels > 0) & ~separation_line(labels)]


def _contour_maps(labels):
    return [labels > 0, contour_target(labels, 2)]


BOUNDARY = {
    "region": (
        1,
        _region_maps,
        lambda maps, decoding: decode_region(*maps, decoding=decoding),
        RegionDecoding(),
    ),
    "contour": (
        2,
        _contour_maps,
        lambda maps, decoding: decode_contour(*maps, decoding=decoding),
        ContourDecoding(),
    ),
}
"""By name: how many maps it reads, the maps of labels, the decoder, its constants."""


def noisy(maps, rng, noise, *, blur=0.0):
    """Return maps in 0..1 quantised as a network's, blurred and with noise."""
    spoilt = []
    for plane in maps:
        values = ndimage.gaussian_filter(plane.astype(np.float32), blur)
        values = values + rng.normal(0, noise, values.shape)
        spoilt.append(np.clip(np.round(values * 255), 0, 255).astype(np.uint8))
    return spoilt
