"""Where a run stands: what it has done, how fast, and how long the rest will take.

Every number is counted or measured in this run. What can't be known yet is left open:
a time that is left says whether it is all of it or at least that much. Clocks are
arguments, so that a standing follows from the events alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from segpipe.stages.events import (
    BatchDone,
    BatchRetried,
    RunEnded,
    RunStarted,
    SlidePlanned,
    StageDone,
    StageStarted,
    StageStopped,
    WorkersLost,
)
from tasks.listening import News
from tasks.outcomes import Outcome

UNIT = {"tile": "windows", "predict": "windows"}
"""What the units of a stage are, where they aren't tiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """How long something will still take."""

    seconds: float
    at_least: bool = False
    """Whether some of it can't be known yet."""


@dataclass(slots=True, kw_only=True)
class StageStanding:
    """One stage of a slide."""

    name: str
    n_units: int
    """Units in all."""
    n_before: int = 0
    """Done by earlier runs."""
    n_now: int = 0
    """Done by this run."""
    count: int = 0
    """What the units done came to: pixels, instances, nuclei."""
    started_s: float | None = None
    moved_s: float = 0.0
    """When the last batch ended, or the stage began."""
    seconds: float | None = None
    """How long it took, once it has ended."""
    is_resumed: bool = False
    """Whether an earlier run had ended it."""

    @property
    def unit(self) -> str:
        """What its units are called."""
        return UNIT.get(self.name, "tiles")

    @property
    def n_done(self) -> int:
        """Units done by any run."""
        return self.n_before + self.n_now

    @property
    def is_under_way(self) -> bool:
        """Whether it has begun and not ended."""
        return self.started_s is not None and self.seconds is None

    def units_per_s(self, now_s: float) -> float | None:
        """Return the units that this run did a second, if it did any."""
        if self.started_s is None or not self.n_now:
            return None
        took_s = self.seconds if self.seconds is not None else now_s - self.started_s
        return self.n_now / took_s if took_s > 0 else None


@dataclass(slots=True, kw_only=True)
class SlideStanding:
    """One slide under way."""

    slide_id: str
    started_s: float
    tissue_mm2: float = 0.0
    stages: dict[str, StageStanding] = field(default_factory=dict)
    """In order."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Key of each stage."""

    def stage(self, name: str, n_units: int = 0) -> StageStanding:
        """Return a stage, known from the plan or heard of now."""
        return self.stages.setdefault(name, StageStanding(name=name, n_units=n_units))

    @property
    def current(self) -> StageStanding | None:
        """The stage under way, if there is one."""
        under_way = [stage for stage in self.stages.values() if stage.is_under_way]
        return under_way[-1] if under_way else None

    @property
    def n_nuclei(self) -> int:
        """Nuclei measured so far."""
        measured = self.stages.get("measure")
        return measured.count if measured else 0

    @property
    def share_done(self) -> float:
        """Return the share of its units that are done, between 0 and 1."""
        n_units = sum(stage.n_units for stage in self.stages.values())
        done = sum(min(s.n_done, s.n_units) for s in self.stages.values())
        return done / n_units if n_units else 0.0

    def mm2_per_s(self, stage: StageStanding, now_s: float) -> float | None:
        """Return the tissue that goes through a stage a second."""
        speed = stage.units_per_s(now_s)
        if speed is None or not stage.n_units or not self.tissue_mm2:
            return None
        return speed * self.tissue_mm2 / stage.n_units


@dataclass(slots=True, kw_only=True)
class Speed:
    """How fast a stage was on the slides of this run that have it behind them."""

    n_units: int = 0
    seconds: float = 0.0

    @property
    def seconds_per_unit(self) -> float | None:
        """Seconds a unit, if any were done."""
        return self.seconds / self.n_units if self.n_units else None


@dataclass(slots=True, kw_only=True)
class Standing:
    """A run: its slides under way, and the sum of those that ended."""

    n_slides: int
    started_s: float
    slides: dict[str, SlideStanding] = field(default_factory=dict)
    """Under way, by id."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Slides that ended, by status."""
    n_nuclei: int = 0
    """Of the slides that are done now."""
    tissue_mm2: float = 0.0
    """Of the slides that are done now."""
    speeds: dict[str, Speed] = field(default_factory=dict)
    """By stage."""
    n_retried: int = 0
    """Batches tried again."""
    n_lost: int = 0
    """Workers that were gone."""
    first_s: float | None = None
    """When the first slide that wasn't done was begun."""
    ended_s: float = 0.0
    """When the last slide was done that wasn't done before."""

    @property
    def n_ended(self) -> int:
        """Slides that ended, in whatever way."""
        return sum(self.statuses.values())

    @property
    def n_nuclei_so_far(self) -> int:
        """Nuclei found, those of slides under way included."""
        return self.n_nuclei + sum(slide.n_nuclei for slide in self.slides.values())

    def hear(self, news: News, now_s: float) -> None:
        """Take note of an event."""
        if isinstance(news, RunStarted):
            self.n_slides = news.n_slides
        elif isinstance(news, Outcome):
            self._slide_ended(news, now_s)
        elif not isinstance(news, RunEnded):
            self._hear_of_slide(news, self._slide(news.slide_id, now_s), now_s)

    def _slide(self, slide_id: str, now_s: float) -> SlideStanding:
        if self.first_s is None:
            self.first_s = now_s
        fresh = SlideStanding(slide_id=slide_id, started_s=now_s)
        return self.slides.setdefault(slide_id, fresh)

    def _hear_of_slide(
        self,
        event: SlidePlanned
        | StageStarted
        | BatchDone
        | BatchRetried
        | WorkersLost
        | StageStopped
        | StageDone,
        slide: SlideStanding,
        now_s: float,
    ) -> None:
        match event:
            case SlidePlanned():
                slide.tissue_mm2, slide.keys = event.tissue_mm2, event.keys
                for name, n_units in event.n_units.items():
                    slide.stage(name, n_units).n_units = n_units
            case StageStarted():
                slide.stages[event.stage] = _started(
                    event, slide.stage(event.stage), now_s
                )
            case BatchDone():
                stage = slide.stage(event.stage)
                stage.n_now += len(event.receipt.units)
                stage.count += event.receipt.count
                stage.moved_s = now_s
            case StageDone():
                self._stage_ended(event, slide.stage(event.stage))
            case BatchRetried():
                self.n_retried += 1
            case WorkersLost():
                self.n_lost += len(event.workers)
            case StageStopped():
                slide.stage(event.stage).started_s = None

    def _stage_ended(self, event: StageDone, stage: StageStanding) -> None:
        stage.n_units, stage.seconds = event.n_units, event.seconds
        stage.is_resumed = event.resumed
        if event.resumed:
            stage.n_before = event.n_units
            return
        speed = self.speeds.setdefault(stage.name, Speed())
        speed.n_units += stage.n_now
        speed.seconds += event.seconds

    def _slide_ended(self, outcome: Outcome, now_s: float) -> None:
        self.slides.pop(outcome.slide.id, None)
        self.statuses[outcome.status] += 1
        if outcome.status == "done" and outcome.row is not None:
            self.ended_s = now_s
            self.n_nuclei += outcome.row.n_nuclei
            self.tissue_mm2 += outcome.row.tissue_mm2

    def slide_left(self, slide: SlideStanding, now_s: float) -> Left | None:
        """Return how long the stages of a slide will take, as far as is known.

        A stage under way goes on as it went so far; one to come goes as it did on the
        slides before. Of a stage that was never measured nothing is known.
        """
        known_s, unknown = 0.0, 0
        for stage in slide.stages.values():
            left_s = self._stage_left(stage, now_s)
            known_s += left_s or 0.0
            unknown += left_s is None
        if unknown == len(slide.stages) or (unknown and not known_s):
            return None
        return Left(seconds=known_s, at_least=unknown > 0)

    def _stage_left(self, stage: StageStanding, now_s: float) -> float | None:
        n_left = stage.n_units - stage.n_done
        if stage.seconds is not None or n_left <= 0:
            return 0.0
        if (units_per_s := stage.units_per_s(now_s)) is not None:
            return n_left / units_per_s
        before = self.speeds.get(stage.name)
        per_unit = before.seconds_per_unit if before else None
        return None if per_unit is None else n_left * per_unit

    def run_left(self, now_s: float) -> Left | None:
        """Return how long the run will take, as far as is known.

        The slides to come are not planned yet: they are taken to be done at the rate at
        which slides were done so far.
        """
        under_way = [self.slide_left(s, now_s) for s in self.slides.values()]
        known = [left for left in under_way if left is not None]
        longest_s = max((left.seconds for left in known), default=0.0)
        n_left = self.n_slides - self.n_ended
        is_last = n_left <= len(self.slides)
        if is_last and known and len(known) == len(under_way):
            at_least = any(left.at_least for left in known)
            return Left(seconds=longest_s, at_least=at_least)
        n_done = self.statuses["done"]
        if not n_done or self.first_s is None:
            return Left(seconds=longest_s, at_least=True) if known else None
        each_s = (self.ended_s - self.first_s) / n_done
        rest_s = n_left * each_s - (now_s - self.ended_s)
        if rest_s >= longest_s:
            return Left(seconds=rest_s)
        return Left(seconds=longest_s, at_least=any(left.at_least for left in known))


def _started(
    event: StageStarted, planned: StageStanding, now_s: float
) -> StageStanding:
    """Return the stage anew: one that is tried again starts from its receipts."""
    return StageStanding(
        name=planned.name,
        n_units=event.n_units,
        n_before=event.n_done,
        count=event.count,
        started_s=now_s,
        moved_s=now_s,
    )
