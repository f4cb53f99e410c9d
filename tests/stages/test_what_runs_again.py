"""A changed setting runs the stages that depend on it and no others, as foretold."""

import hashlib
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from outcome import table_bytes
from safetensors.numpy import load_file, save
from small_slides import write_slide

from segpipe.config import Settings, SlideRef
from segpipe.networks import card_of, weights_file
from segpipe.stages import keys
from segpipe.stages._stage import batches
from segpipe.stages.events import BatchDone
from segpipe.stages.explaining import differences, is_done, outlook
from segpipe.stages.needing import NEEDED_BY, to_run
from segpipe.stages.path import STAGES
from segpipe.stages.planning import plan_slide
from segpipe.stages.slide import segment_slide

NAMES = tuple(stage.name for stage in STAGES)
CONSTANTS = card_of(weights_file("hoverlite")).decoding
FOREGROUND, MIN_PROB = CONSTANTS["foreground"], CONSTANTS["min_prob"]
KEEPING_ALL = Settings(keep=frozenset({"image", "maps"}), tile_px=256, report=False)

KEPT = (("image", "maps"), ("maps",), ())


class Killed(BaseException):
    """What nothing catches."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny):
    """Finished runs of a tiny slide, by what they kept; to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    outs = {keep: folder / "-".join(("out", *keep)) for keep in KEPT}
    for keep, out in outs.items():
        if keep != KEPT[0]:
            shutil.copytree(outs[KEPT[0]], out)
        settings = KEEPING_ALL.model_copy(update={"keep": frozenset(keep)})
        segment_slide(tiny, out, settings)  # drops what it doesn't keep
    return tiny, outs


@pytest.fixture
def again(finished, tmp_path):
    """A finished run to go on with: slide, folder, settings."""
    slide, outs = finished

    def copied(*keep):
        shutil.copytree(outs[keep], tmp_path / "out")
        return slide, tmp_path / "out"

    return copied


@pytest.fixture
def scene(finished, tmp_path, monkeypatch):
    return Scene(folder=tmp_path, slide=finished[0], monkeypatch=monkeypatch)


def run(slide, out, settings, *, after=None):
    """Run, counting batches; killed after some of them if asked."""
    done, landed = Counter(), count(1)

    def listener(event):
        if isinstance(event, BatchDone):
            done[event.stage] += 1
            if next(landed) == after:
                raise Killed

    try:
        segment_slide(slide, out, settings, listener=listener)
    except Killed:
        assert after is not None
    return done


def forecast(slide, out, settings):
    """Return the stages that would run, each with the reasons, and their batches."""
    plan = plan_slide(slide, settings, out)
    told = {stage.stage: stage for stage in outlook(plan)}
    n_batches = {
        stage.name: len(
            list(batches(range(told[stage.name].n_units), stage.batch_units))
        )
        for stage in STAGES
        if told[stage.name].would_run
    }
    return {name: told[name].reasons for name in n_batches}, Counter(n_batches)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where a change is made."""

    folder: Path
    slide: SlideRef
    monkeypatch: pytest.MonkeyPatch

    def card(self, **changes):
        """Lay a card for ``other.safetensors``: hoverlite's with other lines."""
        card = weights_file("hoverlite").with_suffix(".toml").read_text()
        for name, value in changes.items():
            card = re.sub(rf"(?m)^{name} = .*$", f"{name} = {value}", card)
        path = self.folder / "other.safetensors"
        path.with_suffix(".toml").write_text(card)
        return path


def other_card(scene):
    """The same weights with another constant of the decoder."""
    path = scene.card(foreground=0.7)
    shutil.copy(weights_file("hoverlite"), path)
    return scene.slide, {"weights": path}


def surer_card(scene):
    """The same weights with the constant that is asked of whole nuclei."""
    path = scene.card(min_prob=0.9)
    shutil.copy(weights_file("hoverlite"), path)
    return scene.slide, {"weights": path}


def other_weights(scene):
    """Weights of which one array is another."""
    tensors = load_file(weights_file("hoverlite"))
    first = next(iter(tensors))
    content = save(tensors | {first: tensors[first] * np.float32(1.01)})
    path = scene.card(sha256=f'"{hashlib.sha256(content).hexdigest()}"')
    path.write_bytes(content)
    return scene.slide, {"weights": path}


def other_schema(scene):
    """A table with another column."""
    scene.monkeypatch.setattr(keys, "SCHEMA_VERSION", keys.SCHEMA_VERSION + 1)
    return scene.slide, {}


def other_pixels(scene):
    """A file of that name with other content."""
    rgb = np.full((250, 200, 3), 230, np.uint8)
    rgb[50:150, 50:150] = (180, 90, 160)
    return SlideRef(id="tiny", path=write_slide(scene.folder / "tiny.tiff", rgb)), {}


def setting(**chosen):
    return lambda scene: (scene.slide, chosen)


CHANGES = [
    (setting(), (), None),
    (setting(tile_px=64), (), None),
    (setting(halo_px=99), (), None),
    (setting(report=True), (), None),
    (other_schema, NAMES[4:], "schema of the table "),
    (setting(min_area_um2=12.0), NAMES[3:], "min_area_um2 4.0 → 12.0"),
    (setting(max_extent_um=60.0), NAMES[3:], "max_extent_um 120.0 → 60.0"),
    (setting(min_prob=0.95), NAMES[3:], f"min_prob {MIN_PROB} → 0.95"),
    (surer_card, NAMES[3:], f"min_prob {MIN_PROB} → 0.9"),
    (other_card, NAMES[2:], f"decoding.foreground {FOREGROUND} → 0.7"),
    (other_weights, NAMES[1:], "weights sha256 "),
    (other_pixels, NAMES, "content of the slide "),
]
"""What is changed, the stages that depend on it, and how the first of them says it."""


@pytest.mark.parametrize(("change", "dependent", "said"), CHANGES)
def test_a_change_runs_what_depends_on_it(scene, again, change, dependent, said):
    _, out = again("image", "maps")
    slide, chosen = change(scene)
    settings = KEEPING_ALL.model_copy(update=chosen)
    reasons, expected = forecast(slide, out, settings)
    assert tuple(reasons) == dependent
    if dependent:
        assert reasons[dependent[0]][0].startswith(said)
        assert reasons["measure"] == (
            (f"follows {dependent[-2]}",) if len(dependent) > 1 else reasons["measure"]
        )
    assert run(slide, out, settings) == expected
    assert is_done(plan_slide(slide, settings, out))


def test_a_change_comes_to_what_a_new_run_comes_to(again, tmp_path):
    slide, out = again("image", "maps")
    settings = KEEPING_ALL.model_copy(update={"min_area_um2": 30.0})
    before = table_bytes(out, "tiny")
    run(slide, out, settings)
    segment_slide(slide, tmp_path / "new", settings)
    assert table_bytes(out, "tiny") == table_bytes(tmp_path / "new", "tiny") != before


@pytest.mark.parametrize(
    ("keep", "running"), [(("maps",), ("tile", "measure")), ((), NAMES)]
)
def test_what_was_dropped_is_made_again_where_it_is_needed(scene, again, keep, running):
    slide, out = again(*keep)
    before = table_bytes(out, "tiny")
    other_schema(scene)
    settings = KEEPING_ALL.model_copy(update={"keep": frozenset(keep)})
    reasons, expected = forecast(slide, out, settings)
    assert tuple(reasons) == running
    assert "dropped when the slide was finished" in reasons["tile"][0]
    assert run(slide, out, settings) == expected
    assert table_bytes(out, "tiny") == before


def test_an_unfinished_slide_with_other_tiles_is_labelled_anew(finished, tmp_path):
    slide, outs = finished
    plan = plan_slide(slide, KEEPING_ALL, tmp_path)
    n_before = sum(
        len(list(batches(stage.units(plan), stage.batch_units))) for stage in STAGES[:2]
    )
    run(slide, tmp_path, KEEPING_ALL, after=n_before + 1)
    reasons, _ = forecast(slide, tmp_path, KEEPING_ALL)
    assert reasons["label"] == ("2 of 4 units are done",)
    finer = KEEPING_ALL.model_copy(update={"tile_px": 128})
    reasons, expected = forecast(slide, tmp_path, finer)
    assert tuple(reasons) == NAMES[2:]
    assert reasons["label"] == ("tile_px 256 → 128",)
    assert run(slide, tmp_path, finer) == expected
    assert table_bytes(tmp_path, "tiny") == table_bytes(outs["image", "maps"], "tiny")


def test_what_runs_is_the_least_that_the_table_needs():
    """Against the definition: whatever is read is closed or runs before."""
    for number in range(2 ** len(NAMES)):
        closed = {name for i, name in enumerate(NAMES) if number >> i & 1}
        running = to_run(closed)
        assert running.isdisjoint(closed)
        assert ("measure" in running) == ("measure" not in closed)
        for name, users in NEEDED_BY.items():
            is_read = not running.isdisjoint(users)
            assert not is_read or name in closed | running
            assert name not in running or is_read or name == "measure"


def test_differences_are_said_by_name_and_value():
    before = {"a": "1", "schema": "3", "gone": "x", "weights": '"' + "3f" * 32 + '"'}
    now = {"a": "1", "schema": "4", "new": "y", "weights": '"' + "9a" * 32 + '"'}
    assert differences(before, now) == [
        "schema of the table 3 → 4",
        "gone x → none",
        "weights sha256 3f3f3f3f3f.. → 9a9a9a9a9a..",
        "new none → y",
    ]
    assert differences(now, now) == []
