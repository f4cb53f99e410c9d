"""The law for detectors: no tile or order changes a nucleus, and none is halved."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage
from synthetic import ellipses
from synthetic_detector import (
    Errors,
    claims_of_all,
    crowd,
    detect,
    ownership_of,
    resolved,
    scribble,
)
from test_seam_law import KEEP_ALL, ranked

from segpipe.decoding.masks import paint
from segpipe.geometry import Box
from segpipe.labels.masks import shared_pixels
from segpipe.labels.renaming import are_equivalent
from segpipe.stitching.contested import divided, nuclei_in
from segpipe.stitching.ownership import (
    centres,
    holders,
    in_order,
    survivors,
)
from segpipe.stitching.seams import cut_core
from segpipe.tiling.grid import TileGrid

RULES = st.fixed_dictionaries(
    {
        "side": st.sampled_from([16, 20]),
        "margin": st.sampled_from([6, 8]),
        "vouch": st.integers(0, 3),
        "edge": st.integers(0, 1),
    }
)
ERRORS = st.builds(
    Errors,
    seed=st.integers(0, 10**6),
    move_px=st.integers(0, 3),
    grow_px=st.integers(0, 2),
    miss=st.sampled_from([0.0, 0.1, 0.4]),
    double=st.sampled_from([0.0, 0.1, 0.4]),
)
SHAPES = st.tuples(st.integers(1, 130), st.integers(1, 130))


def scene(seed, shape, density=0.012, radius=(0.6, 5.0)):
    n_nuclei = min(250, int(density * shape[0] * shape[1]))
    return ellipses(np.random.default_rng(seed), shape, n_nuclei, radius)


def with_background(column):
    return np.concatenate([[0], column])


def stitched(claims, ownership, *, tile_px, order):
    """Resolve tile by tile, each from the windows it asks for, and stitch."""
    shape = ownership.lattice.shape
    grid = TileGrid(shape=shape, tile_px=tile_px)
    scores, types = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    tiles = {}
    for index in order.permutation(len(grid)):
        box, core = grid.read_box(index, 1), grid.core(index)
        windows = order.permutation(ownership.windows_of(box))
        nuclei = nuclei_in(box, [claims[w] for w in windows], ownership)
        painted = paint(nuclei, box)
        inner = core.relative_to(box).slices()
        for plane, column in ((scores, nuclei.scores), (types, nuclei.types)):
            said = with_background(column[painted.masks])[painted.labels]
            plane[core.slices()] = said[inner]
        tiles[int(index)] = cut_core(painted.labels, box, core)
    labels, _ = ranked(dict(sorted(tiles.items())), grid, KEEP_ALL)
    return labels, scores, types


def assert_tiles_are_nothing(claims, ownership, tile_px, seed):
    nuclei, painted = resolved(claims, ownership)
    labels, scores, types = stitched(
        claims, ownership, tile_px=tile_px, order=np.random.default_rng(seed)
    )
    assert np.array_equal(labels, painted.labels)
    for plane, column in ((scores, nuclei.scores), (types, nuclei.types)):
        said = with_background(column[painted.masks])[painted.labels]
        assert np.array_equal(plane, said)


@hypothesis_settings(max_examples=12)
@given(
    seed=st.integers(0, 10**6),
    shape=SHAPES,
    rules=RULES,
    errors=ERRORS,
    tile_px=st.integers(16, 140),
)
def test_stitching_tiles_is_resolving_the_slide_bit_for_bit(
    seed, shape, rules, errors, tile_px
):
    ownership = ownership_of(shape, **rules)
    truth = scene(seed, shape)
    claims = claims_of_all(ownership, lambda w: detect(truth, ownership, w, errors))
    assert_tiles_are_nothing(claims, ownership, tile_px, seed)


@hypothesis_settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    shape=SHAPES,
    rules=RULES,
    run=st.sampled_from([0.5, 1.0]),
    tile_px=st.integers(16, 140),
)
@example(
    seed=1,
    shape=(130, 130),
    rules={"side": 16, "margin": 8, "vouch": 0, "edge": 0},
    run=0.8,
    tile_px=7,
)
def test_so_it_is_whatever_windows_say_and_wherever_they_ran(
    seed, shape, rules, run, tile_px
):
    n_windows = len(ownership_of(shape, **rules).lattice)
    ran = np.random.default_rng(seed).random(n_windows) < run
    ownership = ownership_of(shape, **rules, run=ran)
    claims = claims_of_all(ownership, lambda w: scribble(ownership, w, seed))
    assert_tiles_are_nothing(claims, ownership, tile_px, seed)


@hypothesis_settings(max_examples=6)
@given(seed=st.integers(0, 10**6))
def test_a_small_box_in_a_crowd_shows_what_the_slide_shows(seed):
    ownership = ownership_of((60, 60), side=20, margin=10, vouch=4, edge=0)
    claims = claims_of_all(ownership, lambda w: crowd(ownership, w, seed))
    whole = resolved(claims, ownership)[1].labels
    for y, x in np.random.default_rng(seed).integers(10, 46, (12, 2)):
        box = Box(y, x, y + 4, x + 4)
        shown = resolved(claims, ownership, box)[1].labels
        assert are_equivalent(shown, whole[box.slices()])


@hypothesis_settings(max_examples=20)
@given(seed=st.integers(0, 10**6), rules=RULES)
def test_nuclei_share_no_pixel_and_are_in_one_piece(seed, rules):
    ownership = ownership_of((70, 70), **rules)
    claims = claims_of_all(ownership, lambda w: scribble(ownership, w, seed))
    nuclei, painted = resolved(claims, ownership)
    assert nuclei.areas.sum() == np.count_nonzero(painted.labels)
    assert len(shared_pixels(nuclei).one) == 0
    for label in range(1, len(nuclei) + 1):
        assert ndimage.label(painted.labels == label)[1] == 1


def plainly(claims, conflict, lattice):
    """Decide fates claim by claim, as the sentences of the rule say it."""
    owning = holders(claims.detections, lattice) == claims.window
    row, col = np.divmod(claims.window, lattice.n_cols)
    left = set()
    for guest_turn in (False, True):
        for colour in range(4):
            for claim in range(len(claims)):
                if (2 * (row[claim] % 2) + col[claim] % 2 != colour) or (
                    owning[claim] == guest_turn
                ):
                    continue
                against = set(np.flatnonzero(conflict[claim]))
                silenced = guest_turn and owning[list(against)].any()
                if not silenced and not against & left:
                    left.add(claim)
    return left


@hypothesis_settings(max_examples=25)
@given(seed=st.integers(0, 10**6), rules=RULES)
def test_fates_are_those_of_the_plain_rule_and_nobody_goes_unrepresented(seed, rules):
    ownership = ownership_of((70, 60), **rules)
    parts = claims_of_all(ownership, lambda w: scribble(ownership, w, seed, n=20))
    claims = in_order(list(parts.values()))
    shared = shared_pixels(claims.detections)
    areas = claims.detections.areas
    conflict = np.zeros((len(claims), len(claims)), np.bool_)
    for i, j, n in zip(shared.one, shared.other, shared.n_shared, strict=True):
        conflict[i, j] = conflict[j, i] = 2 * n > min(areas[i], areas[j])
    kept = survivors(claims, shared, ownership.lattice)
    assert set(np.flatnonzero(kept)) == plainly(claims, conflict, ownership.lattice)
    assert not conflict[kept][:, kept].any()
    owning = holders(claims.detections, ownership.lattice) == claims.window
    direct = kept | conflict[:, kept].any(axis=1)
    through_an_owner = conflict[:, owning & direct].any(axis=1)
    assert np.all(direct[owning])
    assert np.all(direct | through_an_owner)


def discs(seed, shape):
    """Draw discs of 7 to 9 px, most of them apart, some touching."""
    rng, (rows, cols) = np.random.default_rng(seed), np.mgrid[: shape[0], : shape[1]]
    truth = np.zeros(shape, np.int32)
    for label, corner in enumerate(np.ndindex(shape[0] // 20, shape[1] // 20), 1):
        y, x = 20 * np.array(corner) + rng.integers(7, 13, 2)
        disc = (rows - y) ** 2 + (cols - x) ** 2 <= rng.uniform(7, 9) ** 2
        truth[disc & (truth == 0)] = label
    return truth


@hypothesis_settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    errors=st.builds(
        Errors,
        seed=st.integers(0, 10**6),
        move_px=st.integers(0, 1),
        grow_px=st.integers(0, 1),
        miss=st.sampled_from([0.0, 0.3]),
        double=st.sampled_from([0.0, 0.3]),
    ),
)
def test_a_nucleus_that_a_window_vouches_for_is_there_once_and_whole(seed, errors):
    shape = (130, 120)
    ownership = ownership_of(shape, side=48, margin=20, vouch=3, edge=1)
    truth = discs(seed, shape)
    said = claims_of_all(ownership, lambda w: detect(truth, ownership, w, errors))
    claims = in_order(list(said.values()))
    shared = shared_pixels(claims.detections)
    masks = claims.detections.take(survivors(claims, shared, ownership.lattice))
    nuclei, painted = resolved(said, ownership)
    assert sorted(nuclei.types) == sorted(set(claims.detections.types))
    if not errors.miss:
        assert set(nuclei.types) == set(truth[truth > 0])
    planes = np.array([plane_of(masks, i, shape) for i in range(len(masks))])
    contested = planes.sum(axis=0) > 1
    types = with_background(nuclei.types[painted.masks])[painted.labels]
    for plane, label in zip(planes, masks.types, strict=True):
        found, true = types == label, truth == label
        assert not np.any(found & ~plane)
        assert not np.any(plane & ~found & ~contested)
        common, union = (plane & true).sum(), (plane | true).sum()
        n_contested = (plane & contested).sum()
        assert (found & true).sum() / (found | true).sum() >= (
            common - n_contested
        ) / union
        assert common / union > 0.5


def plane_of(masks, row, shape):
    return paint(masks.take(np.array([row])), Box.of_shape(shape)).labels > 0


@hypothesis_settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_a_perfect_detector_gives_the_truth_back(seed):
    shape = (120, 90)
    ownership = ownership_of(shape, side=32, margin=16, vouch=2, edge=0)
    truth = scene(seed, shape, radius=(1.0, 9.0))
    for label in range(1, truth.max() + 1):
        if ndimage.label(truth == label)[1] > 1:
            truth[truth == label] = 0
    claims = claims_of_all(ownership, lambda w: detect(truth, ownership, w, Errors()))
    nuclei, painted = resolved(claims, ownership)
    said = with_background(nuclei.types[painted.masks])[painted.labels]
    assert np.array_equal(said, truth)


def own_depth(mask):
    return ndimage.distance_transform_cdt(np.pad(mask, 1), metric="taxicab")[1:-1, 1:-1]


@hypothesis_settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_a_contested_pixel_goes_to_the_mask_it_lies_deepest_in(seed):
    ownership = ownership_of((40, 40), side=16, margin=8)
    parts = claims_of_all(ownership, lambda w: scribble(ownership, w, seed))
    masks = in_order(list(parts.values())).detections
    depths = np.zeros((len(masks), 40, 40), int)
    for i in range(len(masks)):
        depths[i] = own_depth(plane_of(masks, i, (40, 40)))
    order = np.argsort(255 - masks.scores, kind="stable")
    winner = order[depths[order].argmax(axis=0)] if len(masks) else np.zeros((40, 40))
    expected = []
    for i in range(len(masks)):
        pieces, n = ndimage.label((winner == i) & (depths[i] > 0))
        if n:
            largest = 1 + np.argmax(np.bincount(pieces.ravel())[1:])
            expected.append((pieces == largest, masks.scores[i]))
    found = divided(masks, shared_pixels(masks))
    assert len(found) == len(expected)
    labels = paint(found, Box(0, 0, 40, 40))
    assert len(labels.masks) == len(found)
    for label, row in enumerate(labels.masks, 1):
        assert np.array_equal(labels.labels == label, expected[row][0])
        assert found.scores[row] == expected[row][1]


@pytest.mark.parametrize("vouch", [0, 3])
def test_a_claim_is_whole_in_its_windows_input(vouch):
    ownership = ownership_of((90, 90), vouch=vouch)
    for window, part in claims_of_all(
        ownership, lambda w: scribble(ownership, w, 5)
    ).items():
        core = ownership.lattice.core(window)
        core = Box(core.y0, core.x0, core.y0 + 16, core.x0 + 16)
        low, high = part.detections.boxes[:, :2], part.detections.boxes[:, 2:]
        clear = core.grown(ownership.margin_px - ownership.edge_px)
        assert np.all(low >= [clear.y0, clear.x0])
        assert np.all(high <= [clear.y1, clear.x1])
        vouched = core.grown(vouch)
        at = centres(part.detections)
        assert np.all(
            (at >= [vouched.y0, vouched.x0]) & (at < [vouched.y1, vouched.x1])
        )
