import numpy as np
import pytest
import torch

from segpipe.errors import WeightsError
from segpipe.networks._efficientnet_lite import EfficientNetLite
from segpipe.networks._inference import quantise
from segpipe.networks._layers import fuse_conv_bn
from segpipe.networks.hoverlite import NETWORK, TOUCHING_WEIGHT, HoverLite


@pytest.mark.parametrize("seed", range(4))
def test_touching_ellipses_come_back_to_the_pixel_without_smoothing(
    seed, make_ellipses
):
    labels = make_ellipses(seed, gap=0, n=80)
    targets = NETWORK.targets(labels, None, 0)
    maps = {
        head.name: quantise(head, torch.from_numpy(targets[head.name])[None])[0]
        for head in NETWORK.heads(0)
    }
    decoded = NETWORK.decode(maps, NETWORK.decoding(smooth_px=0))
    pairs = set(zip(labels.ravel().tolist(), decoded.ravel().tolist(), strict=True))
    assert len(pairs) == labels.max() + 1 == decoded.max() + 1
    assert (0, 0) in pairs


def test_padded_pixels_and_unsure_instances_cost_nothing(make_ellipses):
    labels = make_ellipses(0, side=64, n=6)
    types = np.where(labels > 0, 1, 0).astype(np.uint8)
    targets = {
        name: torch.from_numpy(target[None])
        for name, target in NETWORK.targets(labels, types, 4).items()
    }
    targets["valid"] = torch.zeros(1, 64, 64)
    targets["valid"][:, :32] = 1
    targets["reliable"] = torch.zeros(1, 64, 64)
    outputs = tuple(
        torch.randn(1, head.n_channels, 64, 64, requires_grad=True)
        for head in NETWORK.heads(4)
    )
    sum(NETWORK.loss(outputs, targets).values()).backward()
    prob, hv, typed = outputs
    assert prob.grad[..., :32, :].any()
    assert not prob.grad[..., 32:, :].any()
    assert not hv.grad.any()
    assert not typed.grad[..., 32:, :].any()


def test_small_and_touching_nuclei_count_more_a_pixel():
    labels = np.zeros((64, 64), np.int32)
    labels[4:44, 4:24] = 1
    labels[4:44, 24:44] = 2
    labels[52:58, 52:58] = 3
    weight = NETWORK.targets(labels, None, 0)["weight"][0]
    alone, border, small = weight[20, 8], weight[20, 24], weight[55, 55]
    assert alone < 1 < small
    assert border == pytest.approx(TOUCHING_WEIGHT * alone)
    assert weight[50, 8] == 1


def test_instances_that_cannot_be_trusted_have_no_say_in_what_counts(make_ellipses):
    labels = make_ellipses(0, side=64, n=12, gap=0)
    targets = {
        name: torch.from_numpy(target[None])
        for name, target in NETWORK.targets(labels, None, 0).items()
    }
    outputs = tuple(torch.randn(1, h.n_channels, 64, 64) for h in NETWORK.heads(0))
    flat = targets | {"weight": torch.ones(1, 1, 64, 64)}
    unsure = {"reliable": torch.zeros(1, 64, 64)}
    assert NETWORK.loss(outputs, targets)["bce"] != NETWORK.loss(outputs, flat)["bce"]
    weighted = NETWORK.loss(outputs, targets | unsure)["bce"]
    assert weighted == NETWORK.loss(outputs, flat | unsure)["bce"]


def test_unknown_types_cost_nothing(make_ellipses):
    labels = make_ellipses(0, side=64, n=6)
    targets = {
        name: torch.from_numpy(target[None])
        for name, target in NETWORK.targets(labels, None, 4).items()
    }
    outputs = tuple(torch.randn(1, h.n_channels, 64, 64) for h in NETWORK.heads(4))
    assert NETWORK.loss(outputs, targets)["type"] == 0


def test_fusing_batch_norms_changes_nothing_but_speed():
    torch.manual_seed(0)
    module = HoverLite(2)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
    module.eval()
    rgb = torch.rand(1, 3, 64, 64) * 255
    before = module(rgb)
    after = fuse_conv_bn(module)(rgb)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in module.modules())
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_the_encoder_takes_published_weights_and_leaves_their_classifier():
    donor, encoder = EfficientNetLite(), EfficientNetLite()
    published = {
        **donor.state_dict(),
        "_conv_head.weight": torch.zeros(1280, 320, 1, 1),
        "_bn1.weight": torch.zeros(1280),
        "_fc.weight": torch.zeros(1000, 1280),
    }
    encoder.load_imagenet(published)
    for a, b in zip(donor.parameters(), encoder.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_encoder_refuses_other_weights():
    with pytest.raises(WeightsError, match="EfficientNet-Lite0"):
        EfficientNetLite().load_imagenet({"conv1.weight": torch.zeros(64, 3, 7, 7)})


def test_features_lie_at_five_strides():
    features = EfficientNetLite().eval()(torch.zeros(1, 3, 64, 64))
    assert [tuple(f.shape[1:]) for f in features] == [
        (16, 32, 32),
        (24, 16, 16),
        (40, 8, 8),
        (112, 4, 4),
        (320, 2, 2),
    ]
