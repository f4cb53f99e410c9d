"""HoVer-Net is the published one: names, outputs, loss; and it is safe to tile."""

import json
import zlib
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import label_map, maps
from torch.nn import functional

from segpipe.errors import ShapeMismatch, UnknownNetwork
from segpipe.metrics import count, scores
from segpipe.networks import network
from segpipe.networks._hovernet_losses import slope_loss
from segpipe.networks._layers import fuse_conv_bn
from segpipe.networks.hovernet import EDGE_PX, NETWORK

GOLDEN = Path(__file__).parents[1] / "golden" / "networks"
INPUT_PX = {"fast": 256, "original": 270}
NAMES = {"fast": "hovernet", "original": "hovernet:original"}


def golden_weight(name, shape):
    """The weights that the golden outputs were made with; see their README."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if "unpool_mat" in name:
        return np.ones(shape, np.float32)
    if name.endswith(("running_mean", "bias")):
        return np.float32(0.1 * rng.standard_normal(shape))
    if name.endswith("running_var") or len(shape) == 1:
        return np.float32(rng.uniform(0.5, 1.5, shape))
    return np.float32(rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])))


def golden_module(mode):
    with torch.device("meta"):
        module = network(NAMES[mode]).build(5).eval()
    state = {
        name: torch.from_numpy(np.asarray(golden_weight(name, tuple(value.shape))))
        for name, value in module.state_dict().items()
    }
    module.load_state_dict(state, assign=True)
    return module.requires_grad_(requires_grad=False)


def golden_input(mode):
    side = INPUT_PX[mode]
    rgb = np.random.default_rng(0).integers(0, 256, (1, 3, side, side))
    return torch.from_numpy(rgb).float()


def golden_outputs(mode):
    with np.load(GOLDEN / f"hovernet_{mode}_typed6.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def fast():
    return golden_module("fast")


@pytest.mark.parametrize(("kind", "n_types"), [("untyped", 0), ("typed6", 5)])
@pytest.mark.parametrize("mode", NAMES)
def test_names_and_shapes_are_those_of_the_official_weights(mode, kind, n_types):
    official = json.loads((GOLDEN / f"hovernet_{mode}_{kind}_keys.json").read_text())
    with torch.device("meta"):
        state = network(NAMES[mode]).build(n_types).state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == official


@pytest.mark.parametrize("mode", NAMES)
def test_outputs_are_those_of_the_official_implementation(mode, fast):
    module = fast if mode == "fast" else golden_module(mode)
    found = module.branches(golden_input(mode))
    for name, expected in golden_outputs(mode).items():
        torch.testing.assert_close(
            found[name][..., ::2, ::2], expected, rtol=0, atol=1e-4
        )


def test_a_smaller_input_has_the_same_outputs_where_its_edge_is_out_of_sight(fast):
    cut_px, margin = 16, 46
    found = fast.branches(golden_input("fast")[..., cut_px:-cut_px, cut_px:-cut_px])
    unseen = slice((EDGE_PX - margin) // 2, -(EDGE_PX - margin) // 2)
    for name, expected in golden_outputs("fast").items():
        same = expected[..., cut_px // 2 : -cut_px // 2, cut_px // 2 : -cut_px // 2]
        torch.testing.assert_close(
            found[name][..., ::2, ::2][..., unseen, unseen],
            same[..., unseen, unseen],
            rtol=0,
            atol=1e-5,
        )


@pytest.mark.parametrize(
    ("mode", "side", "output"), [("fast", 96, 4), ("original", 198, 8)]
)
def test_inputs_grow_by_8_px_from_the_least_that_leaves_an_output(mode, side, output):
    with torch.device("meta"):
        module = network(NAMES[mode]).build(0).eval()
    for fed, left in ((side, output), (side + 8, output + 8)):
        assert module(torch.empty(1, 3, fed, fed, device="meta"))[0].shape[-1] == left
    for fed in (side - 8, *range(side + 1, side + 8)):
        with pytest.raises(ShapeMismatch, match=rf"\({side}, {fed}\)"):
            module(torch.empty(1, 3, side, fed, device="meta"))


def test_heads_are_the_branches_seen_from_the_background(fast):
    rgb = golden_input("fast")[..., :104, :104]
    raw = fast.branches(rgb)
    prob, hv, typed = fast(rgb)
    nucleus = torch.softmax(raw["np"], dim=1)[:, 1:]
    torch.testing.assert_close(torch.sigmoid(prob), nucleus)
    torch.testing.assert_close(hv, raw["hv"])
    among_all = torch.softmax(raw["tp"], dim=1)[:, 1:]
    among_nuclei = among_all / among_all.sum(dim=1, keepdim=True)
    torch.testing.assert_close(torch.softmax(typed, dim=1), among_nuclei)


def test_fusing_batch_norms_leaves_those_before_convolutions_alone(fast):
    rgb = golden_input("fast")[..., :104, :104]
    before = fast(rgb)
    fused = fuse_conv_bn(deepcopy(fast))
    left = [n for n, m in fused.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert left
    assert all("preact" in name or "blk_bna" in name or "u0" in name for name in left)
    for a, b in zip(before, fused(rgb), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_there_is_no_third_build():
    with pytest.raises(UnknownNetwork, match="hovernet:original"):
        network("hovernet:slow")


@pytest.mark.parametrize(("name", "least_pq"), [("11", 0.700), ("17", 0.907)])
def test_decoding_is_no_worse_than_the_published_one(name, least_pq):
    prob, hv = maps(name)
    decoded = NETWORK.decode({"prob": prob, "hv": hv}, NETWORK.decoding())
    assert scores(count(label_map(name, "truth"), decoded))["pq"] >= least_pq


def batch(make_ellipses, *, typed=True):
    labels = make_ellipses(0, side=64, n=8)
    types = np.where(labels > 0, labels % 4 + 1, 0).astype(np.uint8)
    made = NETWORK.targets(labels, types if typed else None, 4)
    return {name: torch.from_numpy(target[None]) for name, target in made.items()}


def raw_outputs():
    torch.manual_seed(0)
    return tuple(
        torch.randn(1, head.n_channels, 64, 64, requires_grad=True)
        for head in NETWORK.heads(4)
    )


def softmax_dice(logits, classes):
    prob = torch.softmax(logits, dim=1)[0].flatten(1)
    true = functional.one_hot(classes[0], logits.shape[1]).flatten(0, 1).T
    common, total = 2 * (prob * true).sum(1), prob.sum(1) + true.sum(1)
    return (1 - (common + 1e-3) / (total + 1e-3)).sum()


def test_pixel_and_type_losses_are_those_of_the_published_branches(make_ellipses):
    """With any logit for the background: here 3 is added to all of a pixel's."""
    target, outputs = batch(make_ellipses), raw_outputs()
    terms = NETWORK.loss(outputs, target)
    inside = target["prob"][:, 0].long()
    kinds = inside * (1 + target["type"].argmax(dim=1))
    for raw, classes, name in ((outputs[0], inside, "np"), (outputs[2], kinds, "tp")):
        logits = functional.pad(raw, (0, 0, 0, 0, 1, 0)) + 3
        ce = functional.cross_entropy(logits, classes)
        torch.testing.assert_close(terms[f"{name}_ce"], ce)
        torch.testing.assert_close(terms[f"{name}_dice"], softmax_dice(logits, classes))


def test_slopes_are_compared_by_the_published_filter_inside_nuclei():
    """Every tap by itself: distance along over distance squared, of 5 x 5."""
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            hv = torch.zeros(1, 2, 9, 9)
            hv[..., 4 + dy, 4 + dx] = 1
            weight = torch.zeros(1, 9, 9)
            weight[0, 4, 4] = 1
            taps = [d / max(dx * dx + dy * dy, 1) for d in (dx, dy)]
            expected = torch.tensor(np.mean(np.square(taps)), dtype=torch.float32)
            found = slope_loss(hv, torch.zeros_like(hv), weight)
            torch.testing.assert_close(found, expected)


def test_padded_pixels_and_unsure_instances_cost_nothing(make_ellipses):
    target, outputs = batch(make_ellipses), raw_outputs()
    target["valid"] = torch.zeros(1, 64, 64)
    target["valid"][:, :32] = 1
    target["reliable"] = torch.zeros(1, 64, 64)
    sum(NETWORK.loss(outputs, target).values()).backward()
    prob, hv, typed = outputs
    assert not hv.grad.any()
    for raw in (prob, typed):
        assert raw.grad[..., :32, :].any()
        assert not raw.grad[..., 32:, :].any()


def test_nuclei_of_unknown_type_teach_no_type(make_ellipses):
    target, outputs = batch(make_ellipses, typed=False), raw_outputs()
    sum(NETWORK.loss(outputs, target).values()).backward()
    inside = target["prob"][0, 0] > 0
    assert not outputs[2].grad[..., inside].any()
    assert outputs[2].grad[..., ~inside].any()
