"""The promises of the README for a network that gives scored masks instead of maps."""

import tomllib

import cv2
import numpy as np
import pytest
from outcome import array, table_bytes
from small_slides import write_slide
from test_damage import delete, flip, run, truncate
from test_promises import Killed, Recorder, killing_map

from segpipe import read_nuclei
from segpipe.config import Settings, SlideRef
from segpipe.errors import SettingsError, StoreDamaged
from segpipe.networks import detect_planes, load
from segpipe.stages.collecting import find_waste
from segpipe.stages.events import StageDone
from segpipe.stages.planning import plan_slide
from segpipe.stages.slide import segment_slide
from segpipe.stores.layout import Layout
from segpipe.training.export import annotate_card


@pytest.fixture(scope="module")
def crop(tmp_path_factory, crop_rgb):
    """A slide of three by three windows, the last ones cut off."""
    path = tmp_path_factory.mktemp("slides") / "crop.tiff"
    rgb = np.ascontiguousarray(crop_rgb[:430, :450])
    return SlideRef(id="crop", path=write_slide(path, rgb))


@pytest.fixture(scope="module")
def detecting(dark_blobs):
    return Settings(
        weights=dark_blobs,
        keep=frozenset({"image", "maps"}),
        tile_px=256,
        min_area_um2=0,
        report=False,
    )


@pytest.fixture(scope="module")
def detected(crop, detecting, tmp_path_factory):
    out = tmp_path_factory.mktemp("detected")
    segment_slide(crop, out, detecting)
    return out


def claims(out):
    folder = Layout(out.resolve()).detections("crop")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same(one, other):
    """Whether two runs made the same table, label map and claims."""
    paths = ("labels/nuclei/0", "image")
    arrays = (np.array_equal(array(one, p), array(other, p)) for p in paths)
    return (
        table_bytes(one) == table_bytes(other)
        and claims(one) == claims(other)
        and all(arrays)
    )


def test_a_slide_has_the_nuclei_of_its_image(detected, crop, detecting):
    plan = plan_slide(crop, detecting, detected)
    assert plan.tissue_windows == tuple(range(len(plan.windows)))
    loaded = load(detecting.weights)
    found = detect_planes(loaded, array(detected, "image"), loaded.decoding)
    nuclei = read_nuclei(detected)
    assert len(nuclei) > 80
    assert np.array_equal(found.labels, array(detected, "labels/nuclei/0"))
    _, first = np.unique(found.labels, return_index=True)
    scores = found.prob.ravel()[first[1:]]
    assert np.array_equal(nuclei.prob, (scores / 255).astype(np.float32))
    assert np.array_equal(nuclei.type_prob, nuclei.prob)
    assert np.array_equal(nuclei.type_id, found.types)
    assert {*nuclei.type_name} == {"round", "long"}


def test_it_leaves_no_maps_and_claims_within_their_price(detected, crop, detecting):
    assert not (Layout(detected).store("crop") / "maps").exists()
    some, none = (
        plan_slide(crop, detecting.model_copy(update={"keep": keep}), detected)
        for keep in (frozenset({"maps"}), frozenset())
    )
    priced = some.price.kept_bytes - none.price.kept_bytes
    assert sum(map(len, claims(detected).values())) < priced


def test_one_tile_gives_the_same_bytes(detected, crop, detecting, tmp_path):
    larger = detecting.model_copy(update={"tile_px": 1024, "halo_px": 33})
    segment_slide(crop, tmp_path, larger)
    assert same(detected, tmp_path)


def test_small_tiles_in_another_order_killed_and_resumed_give_the_same_bytes(
    detected, crop, detecting, tmp_path
):
    """Tiles end two and four pixels before windows do."""
    smaller, deaths = detecting.model_copy(update={"tile_px": 190}), 0
    while True:
        killer = killing_map(2 + deaths % 4)

        def dying_backwards(function, items, killer=killer):
            return killer(function, reversed(list(items)))

        try:
            segment_slide(crop, tmp_path, smaller, map_=dying_backwards)
            break
        except Killed:
            deaths += 1
    assert deaths >= 3
    assert same(detected, tmp_path)


@pytest.fixture(scope="module")
def harmed(crop, detecting, tmp_path_factory):
    """Claims harmed one way after the other; each run meets the last harm."""
    out = tmp_path_factory.mktemp("harmed")
    folder = Layout(out.resolve()).detections("crop")
    outcomes = []
    for harm in (flip, truncate, delete):

        def do(harm=harm):
            harm(sorted(folder.iterdir())[5])

        outcomes.append(run(crop, out, detecting, (StageDone, "predict"), do))
    return out, outcomes, run(crop, out, detecting)


def test_damaged_claims_are_named_and_made_anew(harmed, detected):
    out, outcomes, (_, last) = harmed
    for _, error in outcomes:
        assert isinstance(error, StoreDamaged)
        assert error.array == "detections"
        assert "window 5" in str(error)
    assert [done["predict"] for done, _ in outcomes] == [3, 1, 1]
    assert last is None
    assert same(out, detected)


def test_a_finished_slide_is_left_alone_and_holds_no_waste(detected, crop, detecting):
    recorder = Recorder()
    segment_slide(crop, detected, detecting, listener=recorder)
    assert recorder.events == []
    assert find_waste(Layout(detected.resolve())).waste == ()


def test_other_constants_ask_the_network_again(crop, detecting, detected, harmed):
    out = harmed[0]
    card = detecting.weights.with_suffix(".toml")
    before = card.read_text()
    try:
        annotate_card(detecting.weights, decoding={"min_area_px": 90})
        recorder = Recorder()
        segment_slide(crop, out, detecting, listener=recorder)
        assert recorder.started() == ["predict", "label", "stitch", "measure"]
        assert len(read_nuclei(out)) < len(read_nuclei(detected))
    finally:
        card.write_text(before)
    assert tomllib.loads(before)["decoding"] == {}


def test_what_is_not_kept_goes_and_what_was_too_large_is_told(
    crop, detecting, detected, tmp_path
):
    bare = detecting.model_copy(update={"keep": frozenset()})
    row = segment_slide(crop, tmp_path, bare)
    assert table_bytes(tmp_path) == table_bytes(detected)
    assert not Layout(tmp_path).detections("crop").exists()
    assert row.n_too_large > 0
    recorder = Recorder()
    segment_slide(crop, tmp_path, bare, listener=recorder)
    assert recorder.events == []


def test_every_tile_is_labelled_that_claims_can_touch(crop, detecting, tmp_path):
    mask = np.zeros((430, 450), np.uint8)
    mask[:, :100] = 255
    assert cv2.imwrite(str(tmp_path / "mask.png"), mask)
    chosen = {"tile_px": 64, "tissue_mask": tmp_path / "mask.png"}
    plan = plan_slide(crop, detecting.model_copy(update=chosen), tmp_path)
    assert plan.tissue_windows == (0, 3, 6)
    reached = {
        tile
        for window in plan.tissue_windows
        for tile in plan.tiles.overlapping(plan.windows.core(window).grown(32))
    }
    assert plan.tissue_tiles == tuple(sorted(reached))
    assert max(plan.tiles.core(tile).x1 for tile in reached) == 256


def test_constants_that_leave_no_nucleus_are_refused_by_the_plan(
    crop, detecting, tmp_path
):
    card = detecting.weights.with_suffix(".toml")
    before = card.read_text()
    try:
        annotate_card(detecting.weights, decoding={"vouch_px": 30})
        with pytest.raises(SettingsError, match="leave some of the margin of 32 px"):
            plan_slide(crop, detecting, tmp_path)
    finally:
        card.write_text(before)
