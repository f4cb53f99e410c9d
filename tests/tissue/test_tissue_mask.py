"""The tissue mask on painted slides: what counts, what doesn't, at every resolution."""

import numpy as np
import pytest
from scipy import ndimage

from segpipe.errors import ShapeMismatch
from segpipe.tissue import tissue_mask

GLASS = (243, 242, 244)
EOSIN, HAEMATOXYLIN, PALE = (225, 150, 190), (110, 80, 150), (240, 226, 235)
BLUE, GREEN, RED, BLACK = (40, 60, 170), (30, 140, 70), (205, 35, 45), (25, 25, 28)
SHAPE = (400, 500)
PIECE = (slice(150, 300), slice(200, 380))


def glass(shape=SHAPE, colour=GLASS, seed=0):
    """Paint glass with the noise that JPEG leaves at low resolution."""
    noise = np.random.default_rng(seed).normal(0, 1.2, (*shape, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def paint(picture, place, colour, seed=1):
    part = picture[place]
    noise = np.random.default_rng(seed).normal(0, 4, part.shape)
    part[:] = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    return picture


def section(colour=EOSIN, **options):
    return paint(glass(**options), PIECE, colour)


def truth():
    mask = np.zeros(SHAPE, bool)
    mask[PIECE] = True
    return mask


@pytest.mark.parametrize("colour", [EOSIN, HAEMATOXYLIN, PALE, (60, 30, 62)])
@pytest.mark.parametrize("mpp", [2.0, 4.0, 8.0, 16.0])
def test_tissue_of_every_shade_is_found_as_it_is(colour, mpp):
    found = tissue_mask(section(colour), mpp=mpp)
    assert found.dtype == bool
    assert (found != truth()).mean() < 0.002


@pytest.mark.parametrize(
    "colour", [(255, 255, 255), (215, 215, 215), (244, 240, 232), (233, 238, 240)]
)
def test_glass_of_any_tint_is_no_tissue(colour):
    found = tissue_mask(section(colour=EOSIN), mpp=8)
    assert (found == truth()).mean() > 0.998
    tinted = paint(glass(colour=colour), PIECE, EOSIN)
    assert (tissue_mask(tinted, mpp=8) != truth()).mean() < 0.002
    assert not tissue_mask(glass(colour=colour), mpp=8).any()


@pytest.mark.parametrize("ink", [BLUE, GREEN, RED, BLACK])
def test_pen_strokes_are_no_tissue(ink):
    marked = section()
    stroke = (slice(20, 380), slice(40, 60))
    paint(marked, stroke, ink)
    soft = np.stack(
        [ndimage.gaussian_filter(c, 0.8) for c in marked.transpose(2, 0, 1)]
    )
    found = tissue_mask(np.ascontiguousarray(soft.transpose(1, 2, 0)), mpp=8)
    assert found[:, :100].mean() < 0.01
    assert found[truth()].mean() > 0.99


@pytest.mark.parametrize("ink", [BLUE, GREEN, RED, BLACK])
def test_a_pen_stroke_across_tissue_takes_no_more_than_itself(ink):
    marked = section()
    stroke = (slice(0, 400), slice(280, 300))
    paint(marked, stroke, ink)
    found = tissue_mask(marked, mpp=8)
    beside = truth()
    beside[:, 277:303] = False
    assert found[beside].all()
    assert not found[20:130, 280:300].any()


@pytest.mark.parametrize("level", [0, 12])
def test_black_borders_are_no_tissue(level):
    bordered = section()
    for edge in (np.s_[:25], np.s_[-25:], np.s_[:, :25], np.s_[:, -25:]):
        bordered[edge] = level
    assert (tissue_mask(bordered, mpp=8) != truth()).mean() < 0.002


def test_white_padding_around_the_scan_changes_nothing():
    padded = section()
    padded[:, :120] = 255
    padded[:80] = 255
    assert (tissue_mask(padded, mpp=8) != truth()).mean() < 0.002


@pytest.mark.parametrize("colour", [EOSIN, HAEMATOXYLIN, (230, 200, 220)])
def test_a_slide_that_is_all_tissue_is_all_tissue(colour):
    assert tissue_mask(glass(colour=colour), mpp=8).all()


def test_two_shades_of_tissue_are_both_tissue():
    both = glass(colour=EOSIN)
    paint(both, PIECE, HAEMATOXYLIN)
    assert tissue_mask(both, mpp=8).all()


@pytest.mark.parametrize("grey", [40, 90, 140])
def test_dust_is_no_tissue(grey):
    dusty = section()
    rng = np.random.default_rng(2)
    for y, x in zip(rng.integers(0, 398, 60), rng.integers(0, 150, 60), strict=True):
        dusty[y : y + 2, x : x + 2] = grey
    assert not tissue_mask(dusty, mpp=8)[:, :150].any()


def test_faint_specks_on_a_large_section_are_dirt():
    dirty = section()
    dirty[50, 50] = PALE
    assert not tissue_mask(dirty, mpp=8)[:100, :100].any()


@pytest.mark.parametrize("mpp", [2.0, 4.0])
@pytest.mark.parametrize("corner", [(0, 0), (60, 80)])
def test_a_lone_nucleus_on_a_clean_slide_counts(mpp, corner):
    slide = glass((128, 160))
    side = round(60**0.5 / mpp)
    place = (slice(corner[0], corner[0] + side), slice(corner[1], corner[1] + side))
    paint(slide, place, HAEMATOXYLIN)
    found = tissue_mask(slide, mpp=mpp)
    assert found[place].all()
    assert found.sum() == side**2


def test_nuclei_scattered_in_fat_count_on_a_full_section():
    fat = glass((900, 900))
    fat[101, 101] = HAEMATOXYLIN
    assert tissue_mask(fat, mpp=8)[101, 101]


def test_small_holes_are_filled_and_large_ones_are_not():
    torn = section()
    torn[200:204, 250:254] = GLASS
    torn[220:280, 300:360] = GLASS
    found = tissue_mask(torn, mpp=8)
    assert found[200:204, 250:254].all()
    assert not found[222:278, 302:358].any()


def test_pigment_and_bluish_specks_within_tissue_stay():
    pigmented = section()
    paint(pigmented, (slice(200, 220), slice(250, 270)), (110, 75, 45))
    paint(pigmented, (slice(240, 243), slice(300, 303)), (70, 95, 160))
    assert tissue_mask(pigmented, mpp=8)[truth()].all()


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_turning_the_slide_turns_the_mask(turn):
    slide = section()
    found = tissue_mask(slide, mpp=8)
    turned = tissue_mask(np.ascontiguousarray(np.rot90(slide, turn)), mpp=8)
    np.testing.assert_array_equal(turned, np.rot90(found, turn))


def test_a_dark_field_picture_has_no_tissue():
    dark = glass(colour=(4, 4, 4))
    assert not tissue_mask(dark, mpp=8).any()


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 1)])
def test_tiny_pictures_are_no_trouble(shape):
    found = tissue_mask(np.full((*shape, 3), 255, np.uint8), mpp=8)
    assert found.shape == shape
    assert not found.any()


def test_other_arrays_are_refused():
    with pytest.raises(ShapeMismatch, match=r"\(Y, X, 3\)"):
        tissue_mask(np.zeros((4, 5), np.uint8), mpp=8)
    with pytest.raises(ValueError, match="mpp"):
        tissue_mask(np.zeros((4, 5, 3), np.uint8), mpp=0)
