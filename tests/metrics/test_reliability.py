"""Probabilities are judged by how often they come true."""

import math

import numpy as np
import pytest

from segpipe.metrics import count_reliability
from segpipe.metrics.reliability import bins, calibration_error


def test_probabilities_that_come_true_as_often_have_no_error():
    prob = np.repeat(np.array([51, 204], np.uint8), 100).reshape(2, 100)
    truth = np.zeros((2, 100), bool)
    truth[0, :20], truth[1, :80] = True, True
    assert calibration_error(count_reliability(prob, truth)) == pytest.approx(0)


def test_certain_and_wrong_is_the_worst():
    certain = count_reliability(np.full((3, 3), 255, np.uint8), np.zeros((3, 3), bool))
    assert calibration_error(certain) == 1


def test_counts_of_images_add_up():
    rng = np.random.default_rng(1)
    prob = rng.integers(0, 256, (2, 40, 40)).astype(np.uint8)
    truth = rng.random((2, 40, 40)) * 255 < prob
    one, other = (count_reliability(p, t) for p, t in zip(prob, truth, strict=True))
    both = count_reliability(prob.reshape(80, 40), truth.reshape(80, 40))
    assert calibration_error(one + other) == calibration_error(both) < 0.1
    assert bins(both).n_px.sum() == prob.size


def test_no_pixels_have_no_error():
    nothing = count_reliability(np.zeros((0, 4), np.uint8), np.zeros((0, 4), bool))
    assert math.isnan(calibration_error(nothing))
