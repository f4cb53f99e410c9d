"""Encoders by name, with what they were trained on ImageNet to be fed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from segpipe.errors import SettingsError, UnknownNetwork
from segpipe.networks import _efficientnet_lite as lite
from segpipe.networks import _mobilenet_v2 as mobilenet
from segpipe.networks._imagenet import load_features
from segpipe.networks._layers import Standardise

TIMM = "timm-"
"""What the names of timm's encoders begin with here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """How to build an encoder and how to feed it."""

    build: Callable[[], nn.Module]
    """Returns a module with ``widths``, the channels of its features from the finest
    to the coarsest, and ``load_imagenet(state)``. It maps (B, 3, H, W) to them."""
    standardise: Callable[[], Standardise]
    """What comes before it, for RGB in [0, 255]."""


_LITE = partial(Standardise, lite.MEAN, lite.STD)
ENCODERS: Mapping[str, Encoder] = {
    "efficientnet_lite0": Encoder(
        build=partial(lite.EfficientNetLite, 0), standardise=_LITE
    ),
    "efficientnet_lite1": Encoder(
        build=partial(lite.EfficientNetLite, 1), standardise=_LITE
    ),
    "efficientnet_lite2": Encoder(
        build=partial(lite.EfficientNetLite, 2), standardise=_LITE
    ),
    "mobilenetv2": Encoder(
        build=mobilenet.MobileNetV2,
        standardise=partial(Standardise, mobilenet.MEAN, mobilenet.STD),
    ),
}


def encoder(name: str) -> Encoder:
    """Return the encoder of a name; ``"timm-resnet18"`` is timm's ``resnet18``.

    Raises
    ------
    UnknownNetwork
        If there is none.
    SettingsError
        If it is one of timm's and timm doesn't import.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    if name.startswith(TIMM):
        return _of_timm(name.removeprefix(TIMM))
    message = (
        f"There is no encoder {name!r}. There are: {', '.join(ENCODERS)}, and timm's, "
        f"named like {TIMM}resnet18."
    )
    raise UnknownNetwork(message)


class TimmEncoder(nn.Module):
    """A timm model's feature maps, without its classifier."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.body = _timm().create_model(name, features_only=True, pretrained=False)
        self.widths: tuple[int, ...] = tuple(self.body.feature_info.channels())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map standardised (B, 3, H, W) to ``widths`` channels, finest first."""
        return tuple(self.body(x))

    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Take the state dict of the whole timm model, leaving out what has no use.

        Raises
        ------
        WeightsError
            If names or shapes are not the model's.
        """
        # timm's feature extractors flatten dots of the published names to underscores.
        own = {name.replace(".", "_"): name for name in self.body.state_dict()}
        named = {own.get(name.replace(".", "_"), ""): v for name, v in state.items()}
        named.pop("", None)
        load_features(self.body, named, classifier=(), title=self._name)


def _of_timm(name: str) -> Encoder:
    timm = _timm()
    if name not in timm.list_models():
        near = ", ".join(timm.list_models(f"*{name[:4]}*")[:5]) or "none like it"
        message = f"timm has no model {name!r}; it has {near}."
        raise UnknownNetwork(message)
    fed = timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()
    return Encoder(
        build=partial(TimmEncoder, name),
        standardise=partial(
            Standardise,
            tuple(255 * value for value in fed.mean),
            tuple(255 * value for value in fed.std),
        ),
    )


def _timm() -> Any:  # noqa: ANN401 - a module without types
    try:
        return importlib.import_module("timm")
    # Without its compiled operators torchvision, which timm needs, raises RuntimeError.
    except (ImportError, RuntimeError) as error:
        message = (
            f"Encoders named {TIMM}... need timm, which doesn't import ({error}): "
            "`pip install timm`, with a torchvision that fits this torch."
        )
        raise SettingsError(message) from error
