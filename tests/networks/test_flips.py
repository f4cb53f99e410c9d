"""The mean over eight orientations turns with the image, directions included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from segpipe.networks._flips import TURNS, mean_of_flips

PLANES = hnp.arrays(np.uint8, (3, 5, 6))


def lopsided(planes):
    """Maps that depend on where up and right are."""
    prob = planes[0] // 2 + np.roll(planes[1], 1, axis=0) // 2
    hv = np.stack((planes[2] // 2, np.roll(planes[0], 2, axis=1) // 3))
    return {"prob": prob, "hv": hv.astype(np.int8), "type": planes}


def gradients(planes):
    """Maps that turn with the image: steps to the right and downwards."""
    values = planes[0].astype(np.int32)
    right, down = np.zeros((2, *values.shape), np.int32)
    right[:, 1:-1] = (values[:, 2:] - values[:, :-2]) // 2
    down[1:-1] = (values[2:] - values[:-2]) // 2
    return {"hv": np.clip(np.stack((right, down)) // 2 * 2, -100, 100).astype(np.int8)}


@pytest.mark.parametrize("turn", TURNS)
@given(PLANES)
def test_the_mean_turns_with_the_image(turn, planes):
    upright = mean_of_flips(lopsided, planes)
    turned = mean_of_flips(lopsided, turn.turn(planes))
    for name, values in turned.items():
        assert values.dtype == upright[name].dtype
        assert np.array_equal(turn.turn_back(name, values), upright[name])


@given(PLANES)
def test_a_network_that_turns_with_the_image_is_left_as_it_is(planes):
    smooth = (planes // 8 * 8).astype(np.uint8)
    assert np.array_equal(
        mean_of_flips(gradients, smooth)["hv"], gradients(smooth)["hv"]
    )


def test_the_orientations_are_eight_and_the_first_is_none():
    planes = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
    seen = {turn.turn(planes).tobytes() for turn in TURNS}
    assert len(seen) == 8
    assert np.array_equal(TURNS[0].turn(planes), planes)
