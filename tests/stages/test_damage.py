"""What is damaged on disk is named, computed anew by the next run, and nothing else."""

from collections import Counter

import pytest
from outcome import same

from segpipe.errors import StoreDamaged
from segpipe.stages.events import BatchDone, StageDone
from segpipe.stages.slide import segment_slide
from segpipe.stores.layout import Layout
from segpipe.stores.sealed import read_sealed, seal


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:11])


def delete(path):
    path.unlink()


HARMS = (
    (StageDone, "tile", "image", truncate, "store", "image/c/**/*"),
    (StageDone, "predict", "maps/prob", flip, "store", "maps/prob/c/**/*"),
    (StageDone, "predict", "maps/hv", delete, "store", "maps/hv/c/**/*"),
    (StageDone, "predict", "maps/prob", truncate, "store", "maps/prob/zarr.json"),
    (StageDone, "label", "records", truncate, "instances", "*.safetensors"),
    (StageDone, "label", "records", flip, "instances", "*.safetensors"),
    (StageDone, "label", "tile_labels", flip, "scratch", "tile_labels/c/**/*"),
    (
        StageDone,
        "stitch",
        "nuclei_index",
        delete,
        "instances",
        "blocks/*[0-9].safetensors",
    ),
    (
        StageDone,
        "stitch",
        "nuclei_index",
        flip,
        "instances",
        "blocks/*-ids.safetensors",
    ),
    (StageDone, "stitch", "labels/nuclei/0", delete, "store", "labels/nuclei/0/c/**/*"),
    (BatchDone, "measure", "parts", flip, "parts", "*.arrow"),
    (BatchDone, "measure", "parts", delete, "parts", "*.arrow"),
    (
        BatchDone,
        "measure",
        "nuclei_index",
        truncate,
        "instances",
        "blocks/bands.safetensors",
    ),
    (StageDone, "measure", None, truncate, "table", ""),
)
"""At the first event of which stage what is harmed, how, and where its files are."""


def run(crop, out, settings, at=None, harm=None):
    """Run, do harm at an event of a stage, and return how many batches were done."""
    done = Counter()
    still = [harm] if harm else []

    def listener(event):
        if isinstance(event, BatchDone):
            done[event.stage] += 1
        if still and (type(event), event.stage) == at:
            still.pop()()

    try:
        segment_slide(crop, out, settings, listener=listener)
    except StoreDamaged as error:
        return done, error
    return done, None


@pytest.fixture(scope="module")
def harmed(crop, settings, tmp_path_factory):
    """One harm after the other, each mended by the run that meets the next."""
    out = tmp_path_factory.mktemp("harmed")
    outcomes = []
    for event, stage, _, harm, folder, pattern in HARMS:
        root = getattr(Layout(out.resolve()), folder)(crop.id)

        def do(root=root, pattern=pattern, harm=harm):
            found = sorted(root.glob(pattern)) if pattern else [root]
            files = [path for path in found if path.is_file()]
            harm(files[len(files) // 2])

        outcomes.append(run(crop, out, settings, (event, stage), do))
    outcomes.append(run(crop, out, settings))
    return out, outcomes


NAMES = [f"{row[2] or 'table'}-{row[3].__name__}" for row in HARMS]


@pytest.mark.parametrize("index", range(len(HARMS)), ids=NAMES)
def test_damage_is_named(harmed, index):
    error = harmed[1][index][1]
    assert isinstance(error, StoreDamaged)
    assert error.array == HARMS[index][2]
    assert "gain" in str(error)


def test_what_was_damaged_is_computed_anew_to_the_same_bytes(harmed, undisturbed):
    out, outcomes = harmed
    assert outcomes[-1][1] is None
    assert same(out, undisturbed)


def test_only_what_was_damaged_is_computed_again(harmed):
    batches = [done for done, _ in harmed[1]]
    assert max(done["label"] for done in batches) > 2
    mending = batches[NAMES.index("tile_labels-flip") + 1]
    assert mending["label"] == 1
    assert mending["tile"] == mending["predict"] == 0


def test_what_is_damaged_in_the_ledger_of_a_finished_slide_is_written_anew(
    crop, settings, undisturbed, tmp_path
):
    """Rows, manifests and receipts that are cut off count as not written."""
    segment_slide(crop, tmp_path, settings)
    ledger = Layout(tmp_path.resolve()).ledger(crop.id)
    files = [ledger / "row.json", ledger / "plan.json", *ledger.glob("*/closed.json")]
    stages = [folder for folder in ledger.glob("*-*") if folder.is_dir()]
    receipts = [max(folder.glob("[0-9]*.json")) for folder in stages]
    for path in (*files, *receipts):
        truncate(path)
    done, error = run(crop, tmp_path, settings)
    assert error is None
    assert all(done[stage.name.split("-")[0]] == 1 for stage in stages)
    assert same(tmp_path, undisturbed)


@pytest.mark.parametrize("cut", [0, 3, 40])
def test_no_byte_of_a_sealed_file_changes_unnoticed(tmp_path, cut, rng):
    path = tmp_path / "file"
    content = rng.bytes(cut)
    path.write_bytes(content)
    seal(path)
    assert read_sealed(path) == content
    stored = path.read_bytes()
    for at in range(len(stored)):
        flipped = stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :]
        for harmed in {stored[:at], flipped, stored + b"x"}:
            path.write_bytes(harmed)
            with pytest.raises(ValueError, match="not those that were written"):
                read_sealed(path)
