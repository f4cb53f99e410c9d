"""What every network promises; networks are found, not listed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segpipe.metrics import count, scores
from segpipe.networks import Network, networks
from segpipe.networks._inference import activate, quantise

EVERY = pytest.mark.parametrize("network", networks().values(), ids=networks())
TYPED = pytest.mark.parametrize("n_types", [0, 4])
Ellipses = Callable[..., NDArray[np.int32]]


def maps_of_targets(network: Network, labels: NDArray[np.int32]) -> dict[str, Any]:
    targets = network.targets(labels, None, 0)
    return {
        head.name: quantise(head, torch.from_numpy(targets[head.name])[None])[0]
        for head in network.heads(0)
    }


def test_at_least_the_default_network_is_found() -> None:
    assert "hoverlite" in networks()


@EVERY
def test_a_network_is_called_by_its_module(network: Network) -> None:
    assert networks()[network.name] is network
    assert network.paper


@EVERY
@TYPED
@pytest.mark.parametrize("training", [False, True])
def test_forward_returns_every_head_in_training_and_evaluation(
    network: Network,
    n_types: int,
    training: bool,  # noqa: FBT001
) -> None:
    torch.manual_seed(0)
    module = network.build(n_types).train(training)
    margin = network.window.margin_px
    side = 64 + 2 * margin if margin else 64
    outputs = module(torch.rand(2, 3, side, side) * 255)
    heads = network.heads(n_types)
    assert isinstance(outputs, tuple)
    assert len(outputs) == len(heads)
    for head, raw in zip(heads, outputs, strict=True):
        assert raw.shape[:2] == (2, head.n_channels)
        assert raw.shape[2] in {side, side - 2 * margin}
        low = -1 if head.activation == "clip" else 0
        active = activate(head, raw)
        assert low <= active.min()
        assert active.max() <= 1


@EVERY
@TYPED
def test_targets_fit_the_heads(
    network: Network, n_types: int, make_ellipses: Ellipses
) -> None:
    labels = make_ellipses(1)
    types = np.where(labels > 0, labels % 4 + 1, 0).astype(np.uint8)
    targets = network.targets(labels, types, n_types)
    for head in network.heads(n_types):
        target = targets[head.name]
        assert target.shape == (head.n_channels, *labels.shape)
        assert target.dtype == np.float32
        assert abs(target).max() <= 1


@EVERY
@pytest.mark.parametrize("seed", range(4))
def test_decoding_the_targets_gives_the_labels_back(
    network: Network, seed: int, make_ellipses: Ellipses
) -> None:
    labels = make_ellipses(seed, gap=seed % 2)
    decoded = network.decode(maps_of_targets(network, labels), network.decoding())
    result = scores(count(labels, decoded))
    assert result["dq"] == 1
    assert result["pq"] > 0.98


@EVERY
@TYPED
def test_the_loss_is_finite_and_reaches_every_weight(
    network: Network, n_types: int, make_ellipses: Ellipses
) -> None:
    torch.manual_seed(0)
    labels = make_ellipses(2, side=64, n=8)
    types = np.where(labels > 0, labels % 4 + 1, 0).astype(np.uint8)
    module = network.build(n_types).train()
    targets = {
        name: torch.from_numpy(np.stack([target, target]))
        for name, target in network.targets(labels, types, n_types).items()
    }
    outputs = module(torch.rand(2, 3, 64, 64) * 255)
    terms = network.loss(outputs, targets)
    sum(terms.values()).backward()
    assert all(torch.isfinite(term) for term in terms.values())
    for name, weight in module.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


@EVERY
def test_perfect_outputs_cost_less_than_none(
    network: Network, make_ellipses: Ellipses
) -> None:
    labels = make_ellipses(3, side=64, n=8)
    targets = {
        name: torch.from_numpy(target[None])
        for name, target in network.targets(labels, None, 0).items()
    }
    right = tuple(
        8 * (2 * targets[head.name] - 1)
        if head.activation == "sigmoid"
        else targets[head.name]
        for head in network.heads(0)
    )
    nothing = tuple(torch.zeros_like(output) for output in right)
    total = [sum(network.loss(o, targets).values()) for o in (right, nothing)]
    assert total[0] < 0.1 * total[1]
