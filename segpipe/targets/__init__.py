"""What networks are trained to say of a label map, and how much each pixel counts.

Pure functions of one patch. Whatever needs images, files or chance lives elsewhere.
"""

from segpipe.targets._emphasis import near_two, size_weight
from segpipe.targets._gaps import border_weight, two_nearest
from segpipe.targets._instances import boxes_target, distance_target, masks_target
from segpipe.targets._offsets import hv_target
from segpipe.targets._outlines import contour_target, separation_line
from segpipe.targets._planes import UNTYPED, prob_target, type_target, uncut

__all__ = [
    "UNTYPED",
    "border_weight",
    "boxes_target",
    "contour_target",
    "distance_target",
    "hv_target",
    "masks_target",
    "near_two",
    "prob_target",
    "separation_line",
    "size_weight",
    "two_nearest",
    "type_target",
    "uncut",
]
