"""Label maps like tissue, and the maps a perfect or a noisy network would give."""

import numpy as np
from scipy import ndimage

from segpipe.targets import hv_target


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
