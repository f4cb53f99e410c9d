"""What nothing refers to may go; what a run reads, and what is not ours, stays."""

import os
import shutil
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcome import same, table_bytes

from segpipe.config import Settings
from segpipe.errors import OutputNotOurs
from segpipe.stages.catalog import write_catalog
from segpipe.stages.collecting import find_waste, remove, remove_waste
from segpipe.stages.events import StageDone
from segpipe.stages.keeping import KEPT_WITH
from segpipe.stages.outputs import prepare_out
from segpipe.stages.slide import segment_slide
from segpipe.stages.wasting import RECEIPTS, VOUCHED_BY, Found, unreferenced
from segpipe.stores.layout import Layout
from segpipe.stores.leases import LeaseTiming
from segpipe.stores.ledger import Ledger
from segpipe.tables.slides import read_slides

QUICK = LeaseTiming(renew_s=0.05, dead_s=0.3, poll_s=0.05)


class Killed(BaseException):
    """What nothing catches."""


@pytest.fixture
def layout(undisturbed, tmp_path):
    """A copy of a finished run."""
    shutil.copytree(undisturbed, tmp_path / "out")
    return Layout((tmp_path / "out").resolve())


def paths_of(layout, collected):
    return {str(item.path.relative_to(layout.out)) for item in collected.waste}


def litter(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("litter")
    os.utime(path, (1e9, 1e9))
    return path


def contents(folder):
    """Return every file with its content, but the leases, which each hold renews."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("lease-")
    }


def test_a_finished_run_has_nothing_to_remove(layout):
    before = contents(layout.out)
    assert find_waste(layout).waste == ()
    assert remove_waste(layout).waste == ()
    assert contents(layout.out) == before


def test_what_nothing_refers_to_is_found_and_removed_and_nothing_else(layout):
    before = contents(layout.out)
    ledger = layout.ledger("crop")
    (lease,) = ledger.glob("lease-*")
    lease.rename(lease.with_name("lease-00000012.json"))
    litter(ledger / "lease-00000011.json")
    litter(ledger / "lock")
    litter(ledger / "label-0123456789abcdef/00000000-2.json")
    litter(ledger / "parts/00000000.arrow")
    litter(ledger / ".plan.json.4194305.tmp")
    litter(layout.out / ".slides.parquet.4194305.tmp")
    litter(layout.table("crop").with_name(".part-0.parquet.4194305.tmp"))
    litter(ledger / "turn-00000012-0123456789abcdef/0a0a0a0a0a0a0a0a")
    litter(layout.store("stranger") / "zarr.json")
    litter(layout.table("stranger").with_name("part-1.parquet"))
    litter(layout.report("stranger"))
    expected = {
        "ledger/crop/lease-00000011.json",
        "ledger/crop/lock",
        "ledger/crop/label-0123456789abcdef",
        "ledger/crop/parts",
        "ledger/crop/.plan.json.4194305.tmp",
        ".slides.parquet.4194305.tmp",
        "nuclei/slide_id=crop/.part-0.parquet.4194305.tmp",
        "ledger/crop/turn-00000012-0123456789abcdef",
        "stores/stranger.zarr",
        "nuclei/slide_id=stranger",
        "reports/stranger.html",
    }
    found = find_waste(layout)
    assert paths_of(layout, found) == expected
    assert {item.n_bytes for item in found.waste} == {len("litter")}
    assert paths_of(layout, remove_waste(layout)) == expected
    assert contents(layout.out) == before
    assert find_waste(layout).waste == ()


def test_a_result_without_its_ledger_stays_in_the_catalog_and_on_the_disk(layout):
    write_catalog(layout)
    (row,) = read_slides(layout.slides)
    shutil.rmtree(layout.ledger_root)
    prepare_out(layout.out)
    write_catalog(layout)
    assert read_slides(layout.slides) == [row]
    remove_waste(layout)
    assert layout.table("crop").exists()
    assert layout.store("crop").exists()
    layout.slides.unlink()
    assert remove_waste(layout).waste == ()
    assert layout.table("crop").exists()


def test_what_a_run_no_longer_keeps_is_removed(layout, crop):
    """As if the run that keeps less had been killed before it dropped anything."""
    plan = layout.ledger("crop") / "plan.json"
    text = plan.read_text()
    for kept in ('["image","maps"]', '["maps","image"]'):
        text = text.replace(f'"keep":{kept}', '"keep":[]')
    plan.write_text(text)
    found = remove_waste(layout)
    names = {item.path.name.split("-")[0] for item in found.waste}
    dropped = {"image", "maps", "scratch.zarr", "instances"}
    assert names == dropped | {"tile", "predict", "label", "stitch"}
    assert layout.store("crop").joinpath("labels/nuclei/0/zarr.json").exists()
    keeping_none = Settings(tile_px=512, report=False)
    assert segment_slide(crop, layout.out, keeping_none).n_nuclei > 100


def test_an_unfinished_slide_is_gone_on_with_after_it(
    undisturbed, crop, settings, tmp_path
):
    def die(event):
        if isinstance(event, StageDone) and event.stage == "stitch":
            raise Killed

    with suppress(Killed):
        segment_slide(crop, tmp_path, settings, listener=die)
    layout = Layout(tmp_path.resolve())
    assert remove_waste(layout).waste == ()
    again = []
    segment_slide(crop, tmp_path, settings, listener=again.append)
    resumed = [e.stage for e in again if isinstance(e, StageDone) and e.resumed]
    assert resumed == ["tile", "predict", "label", "stitch"]
    assert same(tmp_path, undisturbed)


def test_a_slide_in_use_is_left_alone(layout):
    path = litter(layout.ledger("crop") / "label-0123456789abcdef/00000000-2.json")
    beside = litter(layout.store("stranger") / "zarr.json")
    with Ledger(layout, "crop").held():
        assert find_waste(layout).in_use == ("crop",)
        assert remove_waste(layout).in_use == ("crop",)
        assert path.exists()
        assert not beside.exists()
    assert paths_of(layout, find_waste(layout)) == {
        str(path.parent)[len(str(layout.out)) + 1 :]
    }


def test_a_slide_that_a_dead_host_left_is_watched_and_cleared(layout):
    path = litter(layout.ledger("crop") / "label-0123456789abcdef/00000000-2.json")
    (lease,) = layout.ledger("crop").glob("lease-*")
    text = lease.read_text().replace('"is_released": true', '"is_released": false')
    lease.write_text(text.replace('"host": "', '"host": "not-'))
    assert len(find_waste(layout, QUICK).waste) == 1
    assert len(remove_waste(layout, QUICK).waste) == 1
    assert not path.exists()


def test_links_are_neither_followed_nor_removed(layout, tmp_path):
    outside = tmp_path / "outside"
    litter(outside / "precious")
    litter(outside / ".precious.4194305.tmp")
    links = [
        layout.store("stranger"),
        layout.ledger("crop") / "label-0123456789abcdef",
        layout.ledger("crop") / "parts",
        layout.ledger("other"),
        layout.out / "quarantine",
        layout.store("crop") / "more",
    ]
    for link in links:
        link.symlink_to(outside, target_is_directory=True)
    moved = tmp_path / "nuclei"
    layout.table("crop").parents[1].rename(moved)
    litter(moved / "slide_id=stranger/part-0.parquet")
    (layout.out / "nuclei").symlink_to(moved, target_is_directory=True)
    before = contents(outside), contents(moved)
    assert find_waste(layout).waste == ()
    assert remove_waste(layout).waste == ()
    assert (contents(outside), contents(moved)) == before
    assert all(link.is_symlink() for link in links)


def test_removal_itself_refuses_what_lies_outside(layout, tmp_path):
    precious = litter(tmp_path / "precious/file")
    (layout.out / "link").symlink_to(precious.parent, target_is_directory=True)
    for path in (precious, layout.out / "link", layout.out / "link" / "file"):
        with pytest.raises(OutputNotOurs, match="left alone"):
            remove(path, layout)
    with pytest.raises(OutputNotOurs):
        remove(layout.out / ".." / "precious", layout)
    assert precious.exists()


def test_foreign_files_and_slides_of_the_catalog_stay(layout, undisturbed):
    for name in ("notes.txt", "stores/readme.md", "exports/a.csv", "stores/.hidden"):
        litter(layout.out / name)
    shutil.rmtree(layout.ledger_root / "crop")
    assert find_waste(layout).waste == ()
    assert table_bytes(layout.out) == table_bytes(undisturbed)
    shutil.rmtree(layout.table("crop").parent)
    assert paths_of(layout, find_waste(layout)) == {"stores/crop.zarr"}
    litter(layout.quarantine("crop"))
    assert find_waste(layout).waste == ()


KEYS = {stage: f"{at:016x}" for at, stage in enumerate(KEPT_WITH)}
NAMES = st.sets(
    st.sampled_from(
        [f"{stage}-{key}" for stage, key in KEYS.items()]
        + [f"{stage}-{'f' * 16}" for stage in KEYS]
        + [*VOUCHED_BY, "plan.json", "row.json", "done.json", "ingredients.json"]
    )
)


@given(
    names=NAMES,
    keep=st.sets(st.sampled_from(["image", "maps"])),
    is_finished=st.booleans(),
)
def test_what_stays_is_what_a_run_reads(names, keep, is_finished):
    found = Found(names=names, keys=KEYS, keep=keep, is_finished=is_finished)
    wasted = list(unreferenced(found))
    stays = names - set(wasted)
    vouched = {RECEIPTS.match(name)[1] for name in stays if RECEIPTS.match(name)}
    assert set(wasted) <= names
    assert names & {"plan.json", "row.json", "done.json", "ingredients.json"} <= stays
    assert not any(name.endswith("f" * 16) for name in stays)
    for name in names & set(VOUCHED_BY):
        is_kept = is_finished and name in keep
        assert (name in stays) == (is_kept or not vouched.isdisjoint(VOUCHED_BY[name]))
    if not is_finished:
        assert {f"{stage}-{key}" for stage, key in KEYS.items()} & names <= stays
    order = [RECEIPTS.match(name) is None for name in wasted]
    assert order == sorted(order), "an array went before what vouches for it"
    rest = replace(found, names=stays)
    assert unreferenced(rest) == {}
