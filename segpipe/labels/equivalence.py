"""Which of many local ids name the same thing: connected components of pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def equivalence_classes(
    pairs: NDArray[np.int64], n_nodes: int
) -> tuple[int, NDArray[np.int64]]:
    """Group nodes that pairs connect, directly or through others.

    Parameters
    ----------
    pairs : (P, 2) int64
        Nodes that are the same, each in 0..n_nodes - 1. Order and repeats are nothing.
    n_nodes : int
        Nodes; those in no pair are alone in their class.

    Returns
    -------
    n_classes : int
    class_of : (n_nodes,) int64
        Class of each node, 0..n_classes - 1, in no particular order.
    """
    if n_nodes == 0:
        return 0, np.zeros(0, np.int64)
    ones = np.ones(len(pairs), np.bool_)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n_nodes, n_nodes))
    n_classes, class_of = connected_components(graph.tocsr(), directed=False)
    return int(n_classes), class_of.astype(np.int64)
