"""What Mask R-CNN asks of each box: class, exact place, mask. torchvision's names."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

BOX_PX = 7
"""Bins on each side that classes and places are told from."""
MASK_PX = 14
"""Bins on each side that masks are told from; masks have twice as many cells."""


class BoxHead(nn.Module):
    """Two fully connected layers."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(n_in * BOX_PX**2, n_out)
        self.fc7 = nn.Linear(n_out, n_out)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (N, n_in, 7, 7) to (N, n_out)."""
        hidden = functional.relu(self.fc6(pooled.flatten(1)))
        return functional.relu(self.fc7(hidden))


class BoxPredictor(nn.Module):
    """Class, the first being background, and offsets for each class."""

    def __init__(self, n_in: int, n_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(n_in, n_classes)
        self.bbox_pred = nn.Linear(n_in, 4 * n_classes)
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        nn.init.zeros_(self.cls_score.bias)
        nn.init.zeros_(self.bbox_pred.bias)

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, n_in) to logits (N, n_classes) and offsets (N, n_classes, 4)."""
        offsets: Tensor = self.bbox_pred(seen)
        return self.cls_score(seen), offsets.view(len(seen), -1, 4)


class MaskPredictor(nn.Module):
    """Twice the resolution, then a plane for each class, background's among them."""

    def __init__(self, n_in: int, n_hidden: int, n_classes: int) -> None:
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(n_in, n_hidden, 2, 2)
        self.mask_fcn_logits = nn.Conv2d(n_hidden, n_classes, 1)
        nn.init.kaiming_normal_(self.conv5_mask.weight, mode="fan_out")
        nn.init.normal_(self.mask_fcn_logits.weight, std=0.01)

    def forward(self, seen: Tensor) -> Tensor:
        """Map (N, n_in, 14, 14) to logits (N, n_classes, 28, 28)."""
        logits: Tensor = self.mask_fcn_logits(functional.relu(self.conv5_mask(seen)))
        return logits


class RoIHeads(nn.Module):
    """The heads, under the names that weights know them by.

    Parameters
    ----------
    n_in
        Channels of the pyramid.
    box_width
        Of the fully connected layers.
    mask_widths
        Of the 3 x 3 convolutions before the masks.
    n_classes
        With background.
    """

    def __init__(
        self, n_in: int, box_width: int, mask_widths: Sequence[int], n_classes: int
    ) -> None:
        super().__init__()
        self.box_head = BoxHead(n_in, box_width)
        self.box_predictor = BoxPredictor(box_width, n_classes)
        widths = (n_in, *mask_widths)
        self.mask_head = nn.Sequential(*(_convolution(*n) for n in pairwise(widths)))
        last = mask_widths[-1]
        self.mask_predictor = MaskPredictor(last, last, n_classes)


def _convolution(n_in: int, n_out: int) -> nn.Sequential:
    conv = nn.Conv2d(n_in, n_out, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.ReLU(inplace=True))
