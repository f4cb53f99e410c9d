"""What is not probable enough is no nucleus; by the mean, as the table has it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from segpipe.labels.probable import probable_ones

SHAPE = (9, 11)


@given(
    labels=arrays.arrays(np.int32, SHAPE, elements=st.integers(0, 6)),
    prob=arrays.arrays(np.uint8, SHAPE),
    min_prob=st.sampled_from([0.0, 0.3, 0.5, 0.6, 1.0]),
)
def test_just_the_probable_ones_are_left_and_numbered_anew(labels, prob, min_prob):
    expected = np.zeros(SHAPE, np.int32)
    for one in dict.fromkeys(labels[labels > 0].tolist()):
        inside = labels == one
        if prob[inside].mean() / 255 >= min_prob:
            expected[inside] = expected.max() + 1
    before = labels.copy()
    assert np.array_equal(probable_ones(labels, prob, min_prob), expected)
    assert np.array_equal(labels, before)


def test_an_image_without_any_is_left_as_it_is():
    nothing = np.zeros(SHAPE, np.int32)
    assert not probable_ones(nothing, nothing.astype(np.uint8), 0.5).any()


def test_a_mean_that_just_reaches_the_bound_is_enough():
    labels = np.ones((1, 2), np.int32)
    prob = np.array([[102, 102]], np.uint8)
    assert probable_ones(labels, prob, 0.4).all()
    assert not probable_ones(labels, prob - 1, 0.4).any()
