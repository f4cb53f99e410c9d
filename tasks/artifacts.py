"""Where runs stand on Prefect's pages: progress and tables, as artifacts of flow runs.

They are posted by a thread of their own, some seconds apart, so that neither a slow API
nor a dead one holds a run up. Where nobody can look, nothing is posted: the embedded
server of ``segpipe run`` ends with the run.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import RLock, Thread
from typing import Any, Literal, Protocol, Self
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.runtime import flow_run

from segpipe.stages.events import RunEvent
from segpipe.stages.quarantine import reason_of
from tasks.listening import Listener, News
from tasks.outcomes import Outcome
from tasks.standing import SlideStanding, Standing
from tasks.wording import run_in_words, slide_in_words, span

POST_S = 5.0
"""Seconds between two posts of a flow run's artifacts."""
TABLE_S = 30.0
"""Seconds between two posts of the cohort's table, which grows."""
PATIENCE_S = 5.0
"""How long the end of a flow run waits for its last posts."""
TABLE_ROWS = 200
"""Rows of the cohort's table: all that went wrong, then the latest, up to so many."""

Row = dict[str, Any]
"""A row of a table artifact, by column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What an artifact shows now."""

    key: str
    """Name of the artifact; a flow run has one of each."""
    kind: Literal["progress", "table"]
    content: float | str
    """Percent, or rows as JSON."""
    text: str
    """Its description, a line."""

    @classmethod
    def bar(cls, key: str, share: float, text: str) -> Self:
        """Return a bar, by the share between 0 and 1 that is done."""
        percent = round(100 * min(1.0, share), 1)
        return cls(key=key, kind="progress", content=percent, text=text)

    @classmethod
    def table(cls, key: str, rows: list[Row], text: str) -> Self:
        """Return a table."""
        return cls(key=key, kind="table", content=json.dumps(rows), text=text)


@dataclass(slots=True, kw_only=True)
class Page:
    """The artifacts of one flow run, by key: made once, then updated."""

    client: SyncPrefectClient
    flow_run_id: UUID
    ids: dict[str, UUID] = field(default_factory=dict)

    def put(self, item: Item) -> None:
        """Bring an artifact up to date."""
        if item.key in self.ids:
            update = ArtifactUpdate(data=item.content, description=item.text)
            self.client.update_artifact(self.ids[item.key], update)
            return
        artifact = ArtifactCreate(
            key=item.key,
            type=item.kind,
            data=item.content,
            description=item.text,
            flow_run_id=self.flow_run_id,
        )
        self.ids[item.key] = self.client.create_artifact(artifact).id


class Contents(Protocol):
    """What a flow run shows."""

    def hear(self, news: News) -> None:
        """Take note of an event."""

    def items(self, *, is_last: bool) -> list[Item]:
        """Return what is to be brought up to date."""


@contextmanager
def slide_page() -> Iterator[Listener]:
    """Yield a listener that shows the slide of this flow run while it is under way."""
    with _posting(SlideContents()) as listener:
        yield listener


@contextmanager
def cohort_page(n_slides: int) -> Iterator[Listener]:
    """Yield a listener that shows the cohort of this flow run."""
    standing = Standing(n_slides=n_slides, started_s=time.monotonic())
    with _posting(CohortContents(run=standing)) as listener:
        yield listener


@contextmanager
def _posting(contents: Contents) -> Iterator[Listener]:
    """Yield a listener; from its first news on, a thread posts what it came to."""
    poster = _Poster(contents=contents, flow_run_id=UUID(str(flow_run.get_id())))
    try:
        yield poster.hear
    finally:
        poster.end()


@dataclass(slots=True, kw_only=True)
class _Poster:
    contents: Contents
    flow_run_id: UUID
    lock: RLock = field(default_factory=RLock)
    news: Flag = field(default_factory=Flag)
    is_over: Flag = field(default_factory=Flag)
    thread: Thread | None = None

    def hear(self, news: News) -> None:
        with self.lock:
            self.contents.hear(news)
            if self.thread is None and not isinstance(news, RunEvent):
                context = copy_context()  # Prefect's settings are in it
                self.thread = Thread(
                    target=lambda: context.run(self._work),
                    name="segpipe-page",
                    daemon=True,
                )
                self.thread.start()
        self.news.set()

    def end(self) -> None:
        """Post a last time, if there was news at all."""
        self.is_over.set()
        self.news.set()
        if self.thread is not None:
            self.thread.join(timeout=PATIENCE_S)

    def _work(self) -> None:
        try:
            with get_client(sync_client=True) as client:
                page = Page(client=client, flow_run_id=self.flow_run_id)
                while not self.is_over.is_set():
                    self.news.wait()
                    self.news.clear()
                    self._post(page, is_last=False)
                    self.is_over.wait(POST_S)
                self._post(page, is_last=True)
        except Exception:  # noqa: BLE001, S110 - a page is a courtesy; the run goes on
            pass

    def _post(self, page: Page, *, is_last: bool) -> None:
        with self.lock:
            items = self.contents.items(is_last=is_last)
        for item in items:
            page.put(item)


@dataclass(slots=True, kw_only=True)
class SlideContents:
    """A bar while a slide is under way, and at its end a table of its stages."""

    run: Standing = field(
        default_factory=lambda: Standing(n_slides=1, started_s=time.monotonic())
    )
    slide: SlideStanding | None = None

    def hear(self, news: News) -> None:
        """Take note of an event."""
        self.run.hear(news, time.monotonic())
        self.slide = next(iter(self.run.slides.values()), self.slide)

    def items(self, *, is_last: bool) -> list[Item]:
        """Return what is to be brought up to date."""
        if self.slide is None:
            return []
        text = slide_in_words(self.run, self.slide, time.monotonic())
        bar = Item.bar("segpipe-slide", self.slide.share_done, text)
        if not is_last:
            return [bar]
        rows = stage_rows(self.slide)
        return [bar, Item.table("segpipe-stages", rows, self.slide.slide_id)]


@dataclass(slots=True, kw_only=True)
class CohortContents:
    """A bar of the slides, and a table of what became of them."""

    run: Standing
    failed: list[Row] = field(default_factory=list)
    others: deque[Row] = field(default_factory=lambda: deque(maxlen=TABLE_ROWS))
    table_s: float = 0.0
    """When the table was last posted."""

    def hear(self, news: News) -> None:
        """Take note of an event."""
        now_s = time.monotonic()
        if isinstance(news, Outcome):
            slide = self.run.slides.get(news.slide.id)
            row = slide_row(news, now_s - slide.started_s if slide else None)
            is_failed = news.status == "quarantined"
            (self.failed if is_failed else self.others).append(row)
        self.run.hear(news, now_s)

    def items(self, *, is_last: bool) -> list[Item]:
        """Return what is to be brought up to date."""
        now_s = time.monotonic()
        text = run_in_words(self.run, now_s)
        share = self.run.n_ended / max(1, self.run.n_slides)
        bar = Item.bar("segpipe-cohort", share, text)
        if not is_last and now_s - self.table_s < TABLE_S:
            return [bar]
        self.table_s = now_s
        return [bar, Item.table("segpipe-slides", self.rows(), text)]

    def rows(self) -> list[Row]:
        """Return what went wrong, then the latest of the rest, latest first."""
        rest = TABLE_ROWS - len(self.failed)
        latest = list(reversed(self.others))[: max(0, rest)]
        return self.failed[:TABLE_ROWS] + latest


def slide_row(outcome: Outcome, seconds: float | None) -> Row:
    """Return a slide's row in the cohort's table."""
    row = outcome.row
    return {
        "slide": outcome.slide.id,
        "status": outcome.status,
        "nuclei": row.n_nuclei if row else None,
        "mm²": round(row.tissue_mm2, 3) if row else None,
        "time": "" if seconds is None else span(seconds),
        "reason": reason_of(outcome.error) if outcome.error else "",
    }


def stage_rows(slide: SlideStanding) -> list[Row]:
    """Return a row for each stage of a slide."""
    return [
        {
            "stage": stage.name,
            "units": f"{stage.n_done:,}/{stage.n_units:,} {stage.unit}",
            "done before": stage.n_before,
            "time": "" if stage.seconds is None else span(stage.seconds),
            "key": slide.keys.get(stage.name, ""),
        }
        for stage in slide.stages.values()
    ]
