"""Runs of ``segpipe`` in which processes are killed, and what becomes of the slides.

A campaign is a folder of slides, a kind of process, and a moment for each slide. It is
run again and again, as a person would, until all moments are over and all is done.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from uuid import uuid4

from processes import (
    ended,
    kill,
    left_behind,
    scheduler,
    start_segpipe,
    started_as,
)
from results import contents, has_come, stage_of
from small_slides import write_slide

from segpipe import open_slide
from segpipe.config import Settings, SlideRef
from segpipe.geometry import Box
from segpipe.stages.path import STAGES
from segpipe.stages.planning import plan_slide
from segpipe.stores.layout import Layout

EXAMPLE = Path(__file__).parents[2] / "examples" / "cmu-1-small-region.svs"
CUT = Box(1200, 700, 2224, 2236)
TILE_PX = 384
SLIDES = ("a", "b", "c", "d")

TARGETS = ("worker", "scheduler", "flow", "server")
MOMENTS = ("start", *(stage.name for stage in STAGES), "publish")
SECONDS = {"start": 3.0, "tile": 0.2, "predict": 1.5, "publish": 1.0}
"""How long a batch takes, about; those not named take ``SHORT``."""
SHORT = 0.1
LOOKS_PER_SEARCH = 200
"""Looks at the ledger, 2 ms apart, for each at the list of processes."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When which process is killed."""

    target: str
    slide: str
    """The slide that is worked on."""
    stage: str
    """And the stage it is in."""
    batch: int
    """So many receipts of the stage, modulo their number, are awaited."""
    delay_s: float
    """And then so long."""


@dataclass(kw_only=True)
class Trial:
    """A moment, and what became of the slide."""

    moment: Moment
    hit_in: str
    """The stage in which the process was killed in truth."""
    exit_code: int | None = None
    """Of the run that was hit; None if it hung."""
    said: str = ""
    """Its last words."""
    n_left_behind: int = 0
    """Processes that outlived it."""
    last_exit_code: int | None = None
    """Of the run after which all was done."""
    differing: tuple[str, ...] = ()
    """Files that an undisturbed run has otherwise, or not at all."""

    @property
    def survived(self) -> bool:
        """Whether nothing was lost, and nothing was left behind."""
        ended_well = self.exit_code is not None and "unexpected" not in self.said
        sound = not self.n_left_behind and not self.differing
        return ended_well and sound and self.last_exit_code == 0


def campaigns(n: int, seed: int) -> list[tuple[Moment, ...]]:
    """Draw moments over all targets and stages, and put them together by target."""
    chance = random.Random(seed)
    drawn: list[tuple[Moment, ...]] = []
    for at, target in enumerate(TARGETS):
        n_of_target = n // len(TARGETS) + (at < n % len(TARGETS))
        stages = [
            stage
            for _ in range(math.ceil(n_of_target / len(MOMENTS)))
            for stage in chance.sample(MOMENTS, len(MOMENTS))
        ][:n_of_target]
        for first in range(0, n_of_target, len(SLIDES)):
            part = stages[first : first + len(SLIDES)]
            drawn.append(
                tuple(
                    Moment(
                        target=target,
                        slide=slide,
                        stage=stage,
                        batch=chance.randrange(10**6),
                        delay_s=chance.uniform(0, SECONDS.get(stage, SHORT)),
                    )
                    for slide, stage in zip(SLIDES, part, strict=False)
                )
            )
    return drawn


@dataclass(frozen=True, kw_only=True)
class Laboratory:
    """Slides and what an undisturbed run makes of them."""

    folder: Path
    api: str
    n_batches: dict[str, int]
    """Of each stage."""
    undisturbed: dict[str, str]
    """Hash of each file of the result, by path."""

    @classmethod
    def at(cls, folder: Path, api: str) -> Laboratory:
        """Cut a slide out of the example, and segment it without disturbance."""
        inbox = folder / "inbox"
        inbox.mkdir()
        with open_slide(EXAMPLE) as opened:
            rgb = opened.read(CUT, 0)
        slide, *_ = [write_slide(inbox / f"{name}.tif", rgb) for name in SLIDES]
        settings = Settings(tile_px=TILE_PX, device="cpu")
        plan = plan_slide(SlideRef(id="a", path=slide), settings, folder / "plain")
        made = cls(
            folder=folder,
            api=api,
            n_batches={
                stage.name: math.ceil(len(stage.units(plan)) / stage.batch_units)
                for stage in STAGES
            },
            undisturbed={},
        )
        run = made.start([inbox], folder / "plain", "--serial", mark="plain")
        exit_code, said = ended(run)
        assert exit_code == 0, said
        made.undisturbed.update(contents(folder / "plain"))
        return made

    def start(
        self,
        slides: list[Path],
        out: Path,
        *options: str,
        mark: str,
        own_api: bool = False,
    ) -> Popen[str]:
        """Start a run, by the Prefect server that is there or with one of its own."""
        prefect = {"PREFECT_HOME": str(self.folder / "prefect")}
        if not own_api:
            prefect["PREFECT_API_URL"] = self.api
        words = ["run", *map(str, slides), "--out", str(out), "--device", "cpu"]
        tiles = ["--tile-px", str(TILE_PX)]
        return start_segpipe([*words, *tiles, *options], mark, prefect)

    def carry_out(self, moments: tuple[Moment, ...]) -> list[Trial]:
        """Kill at each moment, run until all is done, and compare."""
        out = self.folder / uuid4().hex
        slides = [self.folder / "inbox" / f"{moment.slide}.tif" for moment in moments]
        trials: list[Trial] = []
        for _ in range(2 * len(moments) + 1):
            mark = uuid4().hex
            to_come = moments[len(trials) :]
            target = to_come[0].target if to_come else None
            with self._workers(target, mark) as options:
                is_own = target == "server"
                run = self.start(slides, out, *options, mark=mark, own_api=is_own)
                hit = self._kill_at(to_come, out, run, mark)
                exit_code, said = ended(run)
            n_left_behind = left_behind(mark)
            for trial in hit:
                trial.exit_code, trial.said = exit_code, said
                trial.n_left_behind = n_left_behind
            trials += hit
            if not to_come:
                break
        self._compare(trials, out, exit_code)
        return trials

    def contents_of(self, *slides: str) -> dict[str, str]:
        """Return what a run of some of the slides must come to."""
        return {
            name: digest
            for name, digest in self.undisturbed.items()
            if any(_is_of(name, slide) for slide in slides)
        }

    def _compare(self, trials: list[Trial], out: Path, exit_code: int | None) -> None:
        slides = [trial.moment.slide for trial in trials]
        found, wanted = contents(out), self.contents_of(*slides)
        names = found.keys() | wanted.keys()
        differing = sorted(n for n in names if found.get(n) != wanted.get(n))
        of_none = {n for n in differing if not any(_is_of(n, s) for s in slides)}
        for trial in trials:
            trial.differing = tuple(
                n for n in differing if n in of_none or _is_of(n, trial.moment.slide)
            )
            trial.last_exit_code = exit_code

    @contextmanager
    def _workers(self, target: str | None, mark: str) -> Iterator[tuple[str, ...]]:
        """Have a scheduler of its own where that is to be killed."""
        if target is None:
            yield ("--serial",)
        elif target == "scheduler":
            with scheduler(self.folder / f"{mark}.json", mark) as address:
                yield ("--scheduler", address)
        else:
            yield ("--workers", "2")

    def _kill_at(
        self, moments: tuple[Moment, ...], out: Path, run: Popen[str], mark: str
    ) -> list[Trial]:
        """Kill at moments while the run lasts; return the trials of those that came."""
        trials = []
        for moment in moments:
            victim = self._await(moment, out, run, mark)
            if victim is None:
                break
            hit_in = stage_of(Layout(out), moment.slide)
            kill(victim)
            trials.append(Trial(moment=moment, hit_in=hit_in))
            if moment.target in {"flow", "scheduler"}:
                break
        return trials

    def _await(
        self, moment: Moment, out: Path, run: Popen[str], mark: str
    ) -> int | None:
        """Wait for a moment; return the process to kill, or None if the run has ended.

        The process is known beforehand, for a moment is short.
        """
        batch = moment.batch % self.n_batches.get(moment.stage, 1)
        found = [run.pid] if moment.target == "flow" else []
        n_looks, due = 0, math.inf
        while run.poll() is None and time.monotonic() < due:
            if moment.target != "flow" and n_looks % LOOKS_PER_SEARCH == 0:
                found = started_as(moment.target, mark)
            n_looks += 1
            is_now = due == math.inf and found
            if is_now and has_come(moment.stage, batch, Layout(out), moment.slide):
                due = time.monotonic() + moment.delay_s
            time.sleep(0.002)
        return found[moment.batch % len(found)] if found and due < math.inf else None


def _is_of(name: str, slide: str) -> bool:
    parts = Path(name).parts
    stems = {f"slide_id={slide}", f"{slide}.zarr", f"{slide}.html", f"{slide}.png"}
    return not stems.isdisjoint(parts)


def table(trials: list[Trial]) -> str:
    """Return a line for each trial, and how many were survived."""
    lines = ["killed     meant for  hit in     exit  last  identical  said"]
    for trial in trials:
        moment = trial.moment
        said = trial.said.removeprefix("error: ")[:60]
        identical = ", ".join(trial.differing[:3]) if trial.differing else "yes"
        left = f" {trial.n_left_behind} LEFT BEHIND" if trial.n_left_behind else ""
        code = "hung" if trial.exit_code is None else trial.exit_code
        lines.append(
            f"{moment.target:10} {moment.stage:10} {trial.hit_in:10} {code!s:>4}  "
            f"{trial.last_exit_code!s:>4}  {identical:9}  {said}{left}"
        )
    n_survived = sum(trial.survived for trial in trials)
    lines.append(f"survived {n_survived} / tried {len(trials)}")
    return "\n".join(lines)
