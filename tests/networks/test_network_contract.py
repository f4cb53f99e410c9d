"""What every network that gives maps promises; networks are found, not listed."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segpipe.metrics import count, scores
from segpipe.networks import Network, networks
from segpipe.networks._inference import quantise

GIVING_MAPS = [one for one in networks().values() if isinstance(one, Network)]
EVERY = pytest.mark.parametrize("network", GIVING_MAPS, ids=lambda one: one.name)
PAPERS = pytest.mark.parametrize(
    "network",
    [one for one in GIVING_MAPS if ":" not in one.name],
    ids=lambda one: one.name,
)
TYPED = pytest.mark.parametrize("n_types", [0, 4])
Ellipses = Callable[..., NDArray[np.int32]]


def maps_of_targets(network: Network, labels: NDArray[np.int32]) -> dict[str, Any]:
    targets = network.targets(labels, None, 0)
    return {
        head.name: quantise(head, torch.from_numpy(targets[head.name])[None])[0]
        for head in network.heads(0)
    }


def batch_of_targets(
    network: Network, n_types: int, labels: NDArray[np.int32]
) -> dict[str, torch.Tensor]:
    types = np.where(labels > 0, labels % 4 + 1, 0).astype(np.uint8)
    return {
        name: torch.from_numpy(np.stack([target, target]))
        for name, target in network.targets(labels, types, n_types).items()
    }


@cache
def fed_px(network: Network) -> int:
    """Side of the smallest input that answers for 16 px or more, two steps wide."""
    largest = network.window.input_px
    with torch.device("meta"):
        answered = network.build(0)(torch.empty(1, 3, largest, largest))[0].shape[-1]
    least = max(64, 2 * network.step_px, 16 + largest - answered)
    return least + (largest - least) % network.step_px


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
    with torch.device("meta"):
        module = network.build(n_types).train(training)
    margin, side = network.window.margin_px, fed_px(network)
    losses = set()
    for fed in (side, network.window.input_px):
        outputs = module(torch.empty(2, 3, fed, fed, device="meta"))
        assert isinstance(outputs, tuple)
        for head, raw in zip(network.heads(n_types), outputs, strict=True):
            assert raw.shape[:2] == (2, head.n_channels)
            assert raw.shape[2] == raw.shape[3]
            losses.add(fed - raw.shape[2])
    assert len(losses) == 1, "the same at every size"
    assert max(losses) <= 2 * margin


@EVERY
def test_every_weight_serves_a_head(network: Network) -> None:
    side = fed_px(network)
    with torch.device("meta"):
        module = network.build(4).train()
    outputs = module(torch.empty(1, 3, side, side, device="meta"))
    torch.stack([raw.sum() for raw in outputs]).sum().backward()
    idle = [name for name, w in module.named_parameters() if w.grad is None]
    assert not idle


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
def test_the_loss_is_finite_and_reaches_every_head(
    network: Network, n_types: int, make_ellipses: Ellipses
) -> None:
    torch.manual_seed(0)
    targets = batch_of_targets(network, n_types, make_ellipses(2, side=64, n=8))
    outputs = tuple(
        torch.randn(2, head.n_channels, 64, 64, requires_grad=True)
        for head in network.heads(n_types)
    )
    terms = network.loss(outputs, targets)
    sum(terms.values()).backward()
    assert all(torch.isfinite(term) for term in terms.values())
    for raw in outputs:
        assert torch.isfinite(raw.grad).all()
        assert raw.grad.any()


class Noting(dict[str, torch.Tensor]):
    """Targets that note which of them were read."""

    def __init__(self, targets: dict[str, torch.Tensor]) -> None:
        super().__init__(targets)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> torch.Tensor:
        self.read.add(name)
        return super().__getitem__(name)


@EVERY
@TYPED
def test_the_loss_reads_all_that_is_made_for_it(
    network: Network, n_types: int, make_ellipses: Ellipses
) -> None:
    labels = make_ellipses(2, side=64, n=8)
    targets = Noting(batch_of_targets(network, n_types, labels))
    outputs = tuple(
        torch.randn(2, head.n_channels, 64, 64) for head in network.heads(n_types)
    )
    network.loss(outputs, targets)
    assert targets.read == set(targets)


@PAPERS
def test_a_step_of_training_is_finite(
    network: Network, make_ellipses: Ellipses
) -> None:
    torch.manual_seed(0)
    side = fed_px(network)
    module = network.build(4).train()
    outputs = module(torch.rand(1, 3, side, side) * 255)
    core = outputs[0].shape[-1]
    cut = slice((side - core) // 2, (side - core) // 2 + core)
    targets = batch_of_targets(network, 4, make_ellipses(2, side=side, n=80))
    targets = {name: target[:1, ..., cut, cut] for name, target in targets.items()}
    sum(network.loss(outputs, targets).values()).backward()
    for name, weight in module.named_parameters():
        assert torch.isfinite(weight.grad).all(), name


@EVERY
def test_perfect_outputs_cost_less_than_none(
    network: Network, make_ellipses: Ellipses
) -> None:
    targets = batch_of_targets(network, 0, make_ellipses(3, side=64, n=8))
    right = tuple(
        8 * (2 * targets[head.name] - 1)
        if head.activation == "sigmoid"
        else targets[head.name]
        for head in network.heads(0)
    )
    nothing = tuple(torch.zeros_like(output) for output in right)
    total = [sum(network.loss(o, targets).values()) for o in (right, nothing)]
    assert total[0] < 0.1 * total[1]


@EVERY
def test_what_calibrating_tries_are_constants_of_the_decoder(network: Network) -> None:
    default = network.decoding()
    for name, values in network.decoding.CHOICES.items():
        assert len(values) > 1
        for value in values:
            assert getattr(replace(default, **{name: value}), name) == value
