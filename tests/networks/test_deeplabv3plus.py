"""Atrous convolutions see what strided ones see, at every place; the rest fits."""

import pytest
import torch

from segpipe.errors import UnknownNetwork
from segpipe.networks import network, networks
from segpipe.networks._encoders import ENCODERS, encoder
from segpipe.networks.deeplabv3plus import (
    ASPP,
    AlignedXception,
    DeepLabV3Plus,
    dilate,
)

BUILDS = {
    "xception": AlignedXception,
    **{name: of.build for name, of in ENCODERS.items()},
}


@pytest.mark.parametrize(
    ("name", "output_stride", "every"),
    [("xception", 8, 4), ("mobilenetv2", 16, 2), ("efficientnet_lite0", 8, 4)],
)
def test_a_dilated_encoder_is_the_strided_one_at_more_places(
    name, output_stride, every
):
    torch.manual_seed(0)
    strided, dilated = (BUILDS[name]().eval().double() for _ in range(2))
    dilated.load_state_dict(strided.state_dict())
    dilate(dilated, output_stride)
    rgb = torch.rand(1, 3, 96, 64, dtype=torch.double)
    with torch.inference_mode():
        (*low, deep), (*low_d, deep_d) = strided(rgb), dilated(rgb)
    assert torch.equal(low[0], low_d[0])
    assert deep_d.shape[-2:] == (96 // output_stride, 64 // output_stride)
    torch.testing.assert_close(deep_d[..., ::every, ::every], deep)


def test_xception_65_is_as_large_as_published():
    with torch.device("meta"):
        module = AlignedXception()
    n_weights = sum(w.numel() for w in module.parameters())
    depthwise = [
        conv
        for conv in module.modules()
        if isinstance(conv, torch.nn.Conv2d) and conv.groups > 1
    ]
    assert 37e6 < n_weights < 40e6  # 38 million: Chen et al. 2018, without classifier
    assert len(depthwise) == 3 * 20 + 3


def test_imagenet_weights_go_to_the_encoder():
    source = encoder("mobilenetv2").build()
    chosen = network("deeplabv3plus:mobilenetv2").build(0)
    published = {
        **source.state_dict(),
        "classifier.1.weight": torch.zeros(1000, 1280),
        "features.18.0.weight": torch.zeros(1280, 320, 1, 1),
    }
    chosen.encoder.load_imagenet(published)
    taken = chosen.encoder.state_dict()
    assert all(torch.equal(taken[name], v) for name, v in source.state_dict().items())


def test_rates_double_as_the_output_stride_halves():
    with torch.device("meta"):
        modules = {
            stride: DeepLabV3Plus(0, on="mobilenetv2", output_stride=stride)
            for stride in (16, 8)
        }
    rates = {
        stride: [branch[0].dilation[0] for branch in module.aspp.branches[1:]]
        for stride, module in modules.items()
    }
    assert rates == {16: [6, 12, 18], 8: [12, 24, 36]}


def test_the_pyramid_may_have_any_rates():
    torch.manual_seed(0)
    x = torch.rand(2, 8, 9, 9)
    assert ASPP(8, ()).eval()(x).shape == ASPP(8, (1, 2)).eval()(x).shape


@pytest.mark.parametrize(
    ("suffix", "rates"),
    [
        ("", [6, 12, 18]),
        ("-flat", []),
        ("-near", [3, 6, 9]),
        ("-near-os8", [6, 12, 18]),
    ],
)
def test_names_say_the_pyramid(suffix, rates):
    with torch.device("meta"):
        module = network(f"deeplabv3plus:mobilenetv2{suffix}").build(0)
    branches = module.aspp.branches[1:]
    assert [branch[0].dilation[0] for branch in branches] == rates


def test_names_say_encoder_and_output_stride():
    assert "deeplabv3plus:mobilenetv2" in networks()
    assert network("deeplabv3plus:efficientnet_lite1-os8").name.endswith("-os8")
    with pytest.raises(UnknownNetwork, match="xception, efficientnet_lite0"):
        network("deeplabv3plus:vgg")
