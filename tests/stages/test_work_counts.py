"""What a run reads, writes, decodes and compares, in bytes: no work is done twice.

A change of these numbers is a change of what a slide costs; say why in the commit.
"""

from collections import Counter

import pytest

from segpipe.stages import labelling, tiling
from segpipe.stages.events import StageStarted
from segpipe.stages.plan import Plan
from segpipe.stages.slide import segment_slide
from segpipe.stages.stored import TISSUE
from segpipe.stitching import joining
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger
from segpipe.stores.slide_store import SlideStore


def counting(monkeypatch):
    """Count bytes by (stage, what), pixels decoded, seams compared."""
    counts, stage = Counter(), ["plan"]

    def listener(event):
        if isinstance(event, StageStarted):
            stage.append(event.stage)

    def wrapped(owner, name, note):
        work = getattr(owner, name)

        def counted(*args, **named):
            result = work(*args, **named)
            note(args, result)
            return result

        monkeypatch.setattr(owner, name, counted)

    def tally(what, n):
        counts[f"{stage[-1]} {what}"] += n

    wrapped(SlideStore, "read", lambda args, got: tally(f"reads {args[1]}", got.nbytes))
    wrapped(
        SlideStore,
        "write",
        lambda args, _: (
            args[1] != TISSUE and tally(f"writes {args[1]}", args[3].nbytes)
        ),
    )
    wrapped(tiling, "read_canvas", lambda _, got: tally("reads slide", got.nbytes))
    wrapped(
        labelling, "decode_box", lambda _, got: tally("decodes px", got.labels.size)
    )
    wrapped(joining, "seam_pairs", lambda *_: counts.update(["seams compared"]))
    return counts, listener


@pytest.fixture(scope="module")
def counted(crop, settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("counted")
    with pytest.MonkeyPatch.context() as monkeypatch:
        counts, listener = counting(monkeypatch)
        segment_slide(crop, out, settings, listener=listener)
    plan_path = Ledger(Layout(out.resolve()), crop.id).plan_path
    return counts, Plan.model_validate_json(plan_path.read_text())


def test_the_work_on_the_crop_is_what_it_was(counted):
    assert counted[0] == {
        "tile reads slide": 3_763_200,
        "tile writes image": 3_763_200,
        "predict reads image": 4_515_840,
        "predict writes maps/prob": 1_254_400,
        "predict writes maps/hv": 2_508_800,
        "predict writes maps/type": 5_017_600,
        "label reads maps/prob": 1_716_928,
        "label reads maps/hv": 3_433_856,
        "label decodes px": 1_716_928,
        "label writes tile_labels": 5_017_600,
        "seams compared": 7,
        "stitch reads tile_labels": 5_017_600,
        "stitch writes labels/nuclei/0": 5_017_600,
        "measure reads image": 2_634_390,
        "measure reads labels/nuclei/0": 3_512_520,
        "measure reads maps/prob": 878_130,
        "measure reads maps/type": 3_512_520,
    }


def test_every_pixel_is_read_from_the_slide_and_predicted_once(counted):
    counts, plan = counted
    image_px = sum(plan.windows.core(i).area for i in plan.image_windows)
    tissue_px = sum(plan.windows.core(i).area for i in plan.tissue_windows)
    assert counts["tile reads slide"] == counts["tile writes image"] == 3 * image_px
    assert counts["predict writes maps/prob"] == tissue_px
    assert counts["predict writes maps/hv"] == 2 * tissue_px


def test_a_tile_is_decoded_once_with_its_halo_and_nothing_else_is(counted):
    counts, plan = counted
    boxes = [plan.tiles.read_box(i, plan.halo_px) for i in plan.tissue_tiles]
    assert counts["label decodes px"] == sum(box.area for box in boxes)
    assert counts["label reads maps/prob"] == sum(box.area for box in boxes)


def test_every_seam_is_compared_once(counted):
    counts, plan = counted
    tiles = set(plan.tissue_tiles)
    seams = sum(
        neighbour in tiles
        for tile in tiles
        for neighbour in (plan.tiles.east_of(tile), plan.tiles.south_of(tile))
    )
    assert counts["seams compared"] == seams


def test_the_label_map_is_read_and_written_once_to_be_renamed(counted):
    counts, plan = counted
    px = sum(plan.tiles.core(i).area for i in plan.tissue_tiles)
    assert counts["label writes tile_labels"] == 4 * px
    assert counts["stitch reads tile_labels"] == 4 * px
    assert counts["stitch writes labels/nuclei/0"] == 4 * px
