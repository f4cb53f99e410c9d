from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray


def ellipses(
    seed: int, *, side: int = 128, n: int = 40, gap: int = 1
) -> NDArray[np.int32]:
    """Ellipses of nuclear size; with gap 0 they may touch, but never overlap."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.int32)
    y, x = np.mgrid[:side, :side]
    for _ in range(n):
        cy, cx = rng.uniform(12, side - 12, 2)
        a, b = rng.uniform(5, 9, 2)
        turn = rng.uniform(0, np.pi)
        u = (y - cy) * np.cos(turn) + (x - cx) * np.sin(turn)
        v = (x - cx) * np.cos(turn) - (y - cy) * np.sin(turn)
        if not labels[(u / (a + gap)) ** 2 + (v / (b + gap)) ** 2 <= 1].any():
            labels[(u / a) ** 2 + (v / b) ** 2 <= 1] = labels.max() + 1
    return labels


@pytest.fixture(scope="session")
def make_ellipses() -> Callable[..., NDArray[np.int32]]:
    return ellipses
