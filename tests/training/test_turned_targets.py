"""Targets of a turned patch are the turned targets: channels swap, signs change."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segpipe.networks import network
from segpipe.networks._flips import TURNS

HOVERLITE = network("hoverlite")
LABELS = arrays(np.int32, (9, 11), elements=st.integers(0, 4))


def has_a_middle(labels):
    """Whether no nucleus's centre of mass lies between two pixels."""
    for one in np.unique(labels[labels > 0]):
        places = np.argwhere(labels == one)
        if (2 * places.sum(axis=0) % (2 * len(places)) == len(places)).any():
            return False
    return True


@pytest.mark.parametrize("turn", TURNS)
@given(labels=LABELS)
def test_targets_of_turned_labels_are_turned_targets(turn, labels):
    assume(has_a_middle(labels))
    types = ((labels % 3 + 1) * (labels > 0)).astype(np.uint8)
    targets = HOVERLITE.targets(labels, types, 3)
    turned = HOVERLITE.targets(
        np.ascontiguousarray(turn.turn(labels)),
        np.ascontiguousarray(turn.turn(types)),
        3,
    )
    for name, target in turned.items():
        np.testing.assert_allclose(
            turn.turn_back(name, target), targets[name], atol=1e-6, err_msg=name
        )


def test_a_mirrored_patch_points_the_other_way():
    labels = np.zeros((7, 9), np.int32)
    labels[1:6, 2:7] = 1
    horizontal, vertical = HOVERLITE.targets(labels, None, 0)["hv"]
    mirrored = HOVERLITE.targets(np.ascontiguousarray(labels[:, ::-1]), None, 0)["hv"]
    np.testing.assert_allclose(mirrored[0], -horizontal[:, ::-1])
    np.testing.assert_allclose(mirrored[1], vertical[:, ::-1])
    turned = HOVERLITE.targets(np.ascontiguousarray(labels.T), None, 0)["hv"]
    np.testing.assert_allclose(turned, np.stack([vertical.T, horizontal.T]))
