"""Names and shapes of a network's tensors, and what of them types decide."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from segpipe.networks import network


@cache
def shapes(name: str, n_types: int) -> Mapping[str, torch.Size]:
    """Return the shapes of a network's tensors, in its order, without making them."""
    with torch.device("meta"):
        return shapes_in(network(name).build(n_types).state_dict())


def shapes_in(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Return the shapes by name, without batch norms' counters, which have none."""
    return {name: value.shape for name, value in state.items() if value.ndim}


@cache
def telling_types_apart(name: str) -> frozenset[str]:
    """Return the tensors of a network whose shape depends on how many types it knows.

    Of two networks for as many types, but others, these mean different things.
    """
    one, two = shapes(name, 1), shapes(name, 2)
    return frozenset(tensor for tensor in one if one[tensor] != two[tensor])


@cache
def only_with_types(name: str) -> frozenset[str]:
    """Return the tensors that a network has only where it is built for types."""
    return frozenset(shapes(name, 1).keys() - shapes(name, 0).keys())


def n_types_of(name: str, state: Mapping[str, Tensor], *, n_named: int = 0) -> int:
    """Return for how many nucleus types a network was built, from its state dict.

    Parameters
    ----------
    name
        Of the network.
    state
        Tensors by name.
    n_named
        How many types are said to be there. A detector that knows no types has a class
        all the same, any nucleus, and the shapes of one that knows one type: which of
        both it is can't be seen.

    Returns
    -------
    int
        Read off the first tensor, in the network's order, whose shape depends on that
        number; 0 if none is there.
    """
    found = _counted(name, state)
    alike = found == 1 and shapes(name, 0) == shapes(name, 1)
    return min(found, n_named) if alike else found


def _counted(name: str, state: Mapping[str, Tensor]) -> int:
    one, two = shapes(name, 1), shapes(name, 2)
    for tensor in one:
        if one[tensor] == two[tensor] or tensor not in state:
            continue
        if state[tensor].ndim == len(one[tensor]):
            axis = next(
                n for n, side in enumerate(one[tensor]) if side != two[tensor][n]
            )
            at_one, at_two = one[tensor][axis], two[tensor][axis]
            return max(0, 1 + (state[tensor].shape[axis] - at_one) // (at_two - at_one))
    return 0
