"""What is damaged on disk is named, computed anew by the next run, and nothing else."""

from collections import Counter

import pytest
from outcome import same

from segpipe.errors import StoreDamaged
from segpipe.stages.events import BatchDone, StageDone
from segpipe.stages.slide import segment_slide
from segpipe.stores.layout import Layout


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:11])


def delete(path):
    path.unlink()


HARMS = (
    ("tile", "image", truncate, "store", "image/c/**/*"),
    ("predict", "maps/prob", flip, "store", "maps/prob/c/**/*"),
    ("predict", "maps/hv", delete, "store", "maps/hv/c/**/*"),
    ("label", "records", truncate, "instances", "*.npz"),
    ("label", "tile_labels", flip, "scratch", "tile_labels/c/**/*"),
    ("stitch", "nuclei_index", delete, "instances", "nuclei.bin"),
    ("stitch", "labels/nuclei/0", delete, "store", "labels/nuclei/0/c/**/*"),
)
"""After which stage what is harmed, how, and where its files are."""


def run(crop, out, settings, stage=None, harm=None):
    """Run, do harm when a stage is done, and return how many batches were done."""
    done = Counter()

    def listener(event):
        if isinstance(event, BatchDone):
            done[event.stage] += 1
        if isinstance(event, StageDone) and event.stage == stage:
            harm()

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
    for stage, _, harm, folder, pattern in HARMS:
        root = getattr(Layout(out.resolve()), folder)(crop.id)

        def do(root=root, pattern=pattern, harm=harm):
            files = [path for path in sorted(root.glob(pattern)) if path.is_file()]
            harm(files[len(files) // 2])

        outcomes.append(run(crop, out, settings, stage, do))
    outcomes.append(run(crop, out, settings))
    return out, outcomes


@pytest.mark.parametrize("index", range(len(HARMS)), ids=[row[1] for row in HARMS])
def test_damage_is_named(harmed, index):
    error = harmed[1][index][1]
    assert isinstance(error, StoreDamaged)
    assert error.array == HARMS[index][1]
    assert "Run again" in str(error)


def test_what_was_damaged_is_computed_anew_to_the_same_bytes(harmed, undisturbed):
    out, outcomes = harmed
    assert outcomes[-1][1] is None
    assert same(out, undisturbed)


def test_only_what_was_damaged_is_computed_again(harmed):
    batches = [done for done, _ in harmed[1]]
    assert max(done["label"] for done in batches) > 2
    mending = batches[[row[1] for row in HARMS].index("tile_labels") + 1]
    assert mending["label"] == 1
    assert mending["tile"] == mending["predict"] == 0
