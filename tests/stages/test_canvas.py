"""At which resolution a slide is seen, and from which of its levels."""

from fractions import Fraction

import pytest

from segpipe.errors import MppImplausible
from segpipe.slides._protocol import Level
from segpipe.stages.canvas import choose_canvas

SHAPE = (3000, 2000)


def canvas_of(slide_mpp, mpp, downsamples=(1,)):
    levels = [
        Level(shape=(SHAPE[0] // d, SHAPE[1] // d), downsample=float(d))
        for d in downsamples
    ]
    return choose_canvas(levels, slide_mpp, mpp)


@pytest.mark.parametrize(
    ("slide_mpp", "mpp", "scale"),
    [
        (0.2528, 0.25, Fraction(1)),
        (0.2528, 0.5, Fraction(2)),
        (0.499, 0.25, Fraction(1, 2)),
        (0.5054, 0.25, Fraction(1, 2)),
        (1.0, 0.25, Fraction(1, 4)),
    ],
)
def test_a_whole_ratio_that_is_near_is_taken(slide_mpp, mpp, scale):
    canvas = canvas_of(slide_mpp, mpp)
    assert canvas.ratio == scale
    assert canvas.mpp == pytest.approx(slide_mpp * float(scale))
    assert canvas.shape == (SHAPE[0] / scale, SHAPE[1] / scale)


@pytest.mark.parametrize("slide_mpp", [0.23, 0.35, 0.46, 0.7])
def test_any_other_ratio_comes_to_the_wanted_resolution(slide_mpp):
    canvas = canvas_of(slide_mpp, 0.25)
    assert canvas.mpp == pytest.approx(0.25, rel=1e-3)


def test_the_coarsest_level_that_is_fine_enough_is_read():
    canvas = canvas_of(0.25, 0.5, downsamples=(1, 2, 4))
    assert (canvas.level, canvas.ratio) == (1, 1)
    assert canvas_of(0.25, 0.25, downsamples=(1, 2, 4)).level == 0


@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_how_coarse_a_slide_may_be_does_not_depend_on_the_network(mpp):
    assert canvas_of(1.03, mpp).mpp == pytest.approx(mpp, rel=0.04)
    with pytest.raises(MppImplausible, match="at most 1 is fine enough"):
        canvas_of(1.05, mpp)
