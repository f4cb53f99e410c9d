"""Mask R-CNN's weights as torchvision publishes them, under new names and old."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from segpipe.errors import WeightsError

_RENAMED = (
    ("rpn.head.conv.", "rpn.head.conv.0.0."),
    *(
        (f"roi_heads.mask_head.mask_fcn{n}.", f"roi_heads.mask_head.{n - 1}.0.")
        for n in range(1, 5)
    ),
    *(
        (f"backbone.fpn.{kind}.{n}.", f"backbone.fpn.{kind}.{n}.0.")
        for kind in ("inner_blocks", "layer_blocks")
        for n in range(4)
    ),
)
_OF_CLASSES = ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")


def is_coco(state: Mapping[str, Tensor]) -> bool:
    """Whether weights are of a whole detector, and not of its encoder alone."""
    return any(name.startswith("roi_heads.") for name in state)


def load_coco(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take torchvision's weights of Mask R-CNN with ResNet-50, under new or old names.

    What depends on the classes stays as it is if there are others than COCO's 91.

    Parameters
    ----------
    module
        Of ``mask_rcnn:resnet50``.
    state
        Tensors by name.

    Raises
    ------
    WeightsError
        If names or shapes are not those of this build.
    """
    own = module.state_dict()
    named = {_new_name(name): value for name, value in state.items()}
    for name, value in own.items():
        same = name in named and named[name].shape == value.shape
        is_counter = name.endswith("num_batches_tracked") and name not in named
        if is_counter or (name.startswith(_OF_CLASSES) and not same):
            named[name] = value
    try:
        module.load_state_dict(named, strict=True)
    except RuntimeError as error:
        message = f"These are not torchvision's weights of Mask R-CNN: {error}"
        raise WeightsError(message) from error


def _new_name(name: str) -> str:
    """Return the name that torchvision has for a tensor today."""
    for old, new in _RENAMED:
        if name.startswith(old) and not name.startswith(new):
            return name.replace(old, new)
    return name
