"""Copy-paste keeps the annotation true to the picture."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.targets import UNTYPED
from segpipe.training.annotated import read_annotated
from segpipe.training.augment import CopyPaste
from segpipe.training.copy_paste import Cutout, cut_out, paste, paste_nuclei
from segpipe.training.nuclei import nuclei_of
from segpipe.training.scene import Scene
from segpipe.training.selecting import select_samples

SIDE = 48


@st.composite
def scenes(draw):
    """Rectangles on background, in the order they cover each other."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    for index in range(1, draw(st.integers(0, 8)) + 1):
        y, x = (draw(st.integers(0, SIDE - 1)) for _ in range(2))
        height, width = (draw(st.integers(1, 14)) for _ in range(2))
        labels[y : y + height, x : x + width] = index * 3
    typed = draw(st.booleans())
    shown = np.ones(labels.shape, np.bool_)
    shown[:, : draw(st.integers(0, 6))] = False
    return Scene(
        rgb=np.full((SIDE, SIDE, 3), 200, np.uint8),
        labels=labels * shown,
        types=(labels % 4 + 1).astype(np.uint8) * (labels * shown > 0)
        if typed
        else None,
        shown=shown,
        known=shown,
        reliable=shown,
    )


@st.composite
def cutouts(draw):
    mask = np.zeros((20, 20), np.bool_)
    mask[4 : draw(st.integers(5, 16)), 4 : draw(st.integers(5, 16))] = True
    return Cutout(
        rgb=np.full((20, 20, 3), 50, np.uint8),
        mask=mask,
        alpha=mask.astype(np.float32),
        type=draw(st.sampled_from([1, 3, UNTYPED])),
    )


CORNERS = st.tuples(st.integers(-25, SIDE + 5), st.integers(-25, SIDE + 5))
SETTINGS = st.builds(
    CopyPaste, overlap=st.sampled_from([0.0, 0.3, 1.0]), min_px=st.integers(0, 20)
)


@given(scenes(), cutouts(), CORNERS, SETTINGS)
def test_a_pasted_nucleus_is_added_whole_and_nothing_else_is_lost(
    scene, cutout, corner, settings
):
    after = paste(scene, cutout, corner, settings)
    if after is scene:
        return
    (fresh,) = set(np.unique(after.labels)) - set(np.unique(scene.labels))
    new = after.labels == fresh
    assert new.sum() >= settings.min_px
    assert after.reliable[new].all()
    assert after.known[new].all()
    assert scene.shown[new].all()
    np.testing.assert_array_equal(after.rgb[new], 50)
    np.testing.assert_array_equal(after.rgb[~new], 200)
    kept = (after.labels == scene.labels) & ~new
    lost = ~kept & ~new
    assert not after.known[lost].any(), "what vanished is no background"
    assert (after.labels[lost] == 0).all()
    np.testing.assert_array_equal(after.known[kept], scene.known[kept])
    assert not (after.reliable & ~scene.reliable & ~new).any()


@given(scenes(), cutouts(), CORNERS, SETTINGS)
def test_types_follow_the_labels(scene, cutout, corner, settings):
    after = paste(scene, cutout, corner, settings)
    if after is scene:
        return
    new = after.labels > scene.labels.max()
    if after.types is None:
        assert scene.types is None
        assert cutout.type == UNTYPED
        return
    assert (after.types[new] == cutout.type).all()
    np.testing.assert_array_equal(after.types > 0, after.labels > 0)
    old = (after.labels > 0) & ~new
    if scene.types is None:
        assert (after.types[old] == UNTYPED).all()
    else:
        np.testing.assert_array_equal(after.types[old], scene.types[old])


@given(scenes(), cutouts(), CORNERS, st.sampled_from([0.0, 0.3]))
def test_no_nucleus_is_covered_by_more_than_is_allowed(scene, cutout, corner, overlap):
    settings = CopyPaste(overlap=overlap, min_px=0)
    after = paste(scene, cutout, corner, settings)
    for one in np.unique(scene.labels[scene.labels > 0]):
        before = np.count_nonzero(scene.labels == one)
        assert np.count_nonzero(after.labels == one) >= (1 - overlap) * before - 1e-9


def bar(width):
    labels = np.zeros((SIDE, SIDE), np.int32)
    labels[20 : 20 + width, 4:44] = 7
    everywhere = np.ones(labels.shape, np.bool_)
    return Scene(
        rgb=np.full((SIDE, SIDE, 3), 200, np.uint8),
        labels=labels,
        types=None,
        shown=everywhere,
        known=everywhere,
        reliable=everywhere,
    )


def square(side):
    mask = np.ones((side, side), np.bool_)
    return Cutout(
        rgb=np.zeros((side, side, 3), np.uint8),
        mask=mask,
        alpha=mask.astype(np.float32),
        type=UNTYPED,
    )


def test_a_nucleus_cut_in_two_stays_foreground_but_is_no_longer_reliable():
    after = paste(bar(4), square(8), (18, 20), CopyPaste(overlap=0.7))
    rest = after.labels == 7
    assert rest.sum() == 4 * 32
    assert after.known[rest].all()
    assert not after.reliable[rest].any()


def test_a_nucleus_of_which_a_corner_is_covered_stays_reliable():
    after = paste(bar(4), square(8), (18, 40), CopyPaste(overlap=0.7))
    rest = after.labels == 7
    assert rest.sum() == 4 * 36
    assert after.reliable[rest].all()


def test_a_remnant_that_is_too_small_counts_for_nothing():
    after = paste(bar(4), square(8), (18, 6), CopyPaste(overlap=0.7, min_px=12))
    remnant = np.s_[20:24, 4:6]
    assert not after.labels[remnant].any()
    assert not after.known[remnant].any()
    assert after.reliable[after.labels == 7].all()


@pytest.fixture
def annotated(manifest, recipe):
    return read_annotated(select_samples(manifest, "train", recipe)[0])


def test_what_is_cut_out_is_the_nucleus_with_its_type(annotated, rng):
    still = CopyPaste(scale=0.0, feather_px=0.0)
    for nucleus in nuclei_of(annotated):
        area = np.count_nonzero(annotated.labels == nucleus.id)
        cutout = cut_out(annotated, nucleus, still, rng)
        assert np.count_nonzero(cutout.mask) == pytest.approx(area, rel=0.2, abs=6)
        dark = annotated.image[annotated.labels > 0].mean()
        assert cutout.rgb[cutout.mask].mean() == pytest.approx(dark, abs=12)
        at = annotated.labels == nucleus.id
        assert cutout.type == np.bincount(annotated.types[at]).argmax()
        np.testing.assert_array_equal(cutout.alpha, cutout.mask)


def test_a_feather_fades_and_spares_the_neighbours(annotated, rng):
    soft = CopyPaste(scale=0.0, feather_px=1.5)
    nucleus = nuclei_of(annotated)[0]
    alpha = cut_out(annotated, nucleus, soft, rng).alpha
    assert alpha.max() > 0.9
    assert ((alpha > 0.05) & (alpha < 0.95)).any()
    crowded = replace(
        annotated, labels=np.where(annotated.labels == nucleus.id, nucleus.id, 99)
    )
    cutout = cut_out(crowded, nucleus, soft, rng)
    assert not cutout.alpha[~cutout.mask].any()


def test_nuclei_at_the_edge_or_in_doubt_are_not_whole(annotated):
    nuclei = nuclei_of(annotated)
    assert all(nucleus.whole for nucleus in nuclei if nucleus.box.y0 > 0)
    none = replace(annotated, reliable=np.zeros(annotated.labels.shape, np.bool_))
    assert not any(nucleus.whole for nucleus in nuclei_of(none))
    y0, x0 = nuclei[0].box.y0, nuclei[0].box.x0
    cropped = replace(
        annotated,
        labels=annotated.labels[y0:, x0:],
        types=annotated.types[y0:, x0:],
        reliable=annotated.reliable[y0:, x0:],
    )
    assert not next(n for n in nuclei_of(cropped) if n.id == nuclei[0].id).whole


def test_no_more_than_the_density_is_pasted_and_never_without_chance(rng):
    def draw():
        return square(6)

    empty = bar(0)
    full = CopyPaste(chance=1.0, most=200, overlap=0.0, density=0.1)
    densities = [
        np.mean(paste_nuclei(empty, draw, full, rng).labels > 0) for _ in range(5)
    ]
    assert 0 < max(densities) < 0.1 + 36 / SIDE**2
    assert paste_nuclei(empty, draw, CopyPaste(chance=0.0), rng) is empty
