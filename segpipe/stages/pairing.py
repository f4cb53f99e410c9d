"""The nuclei of a slide in two runs, paired band by band.

By their outlines, in the *frame*: the finer of the two canvases, in which the coarser
label map is read at the nearest pixel. A nucleus of the coarser map so has a pixel at
least. If a run no longer has its label map, nuclei are paired by their centres.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segpipe.errors import StoreDamaged
from segpipe.geometry import Box
from segpipe.metrics import agreement
from segpipe.metrics.detections import match_points, settled
from segpipe.metrics.overlap import Floats, Ints
from segpipe.stages.finished_runs import Run
from segpipe.stages.stored import NUCLEI_0
from segpipe.stores.slide_store import SlideStore
from segpipe.tables.following import RowsInOrder
from segpipe.tables.pairs import READ_COLUMNS, Met
from segpipe.tables.reading import iter_nuclei
from segpipe.tables.slides import SlideRow

BOX_PX = 1024
"""Side of the boxes that are compared; changes memory, never results."""

RADIUS_UM = 3.0
"""Centres no farther apart may be of one nucleus: `DETECTION_RADIUS_PX` at 0.25 mpp."""

Labels = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """The label map of a slide in one run, as the frame sees it."""

    store: SlideStore
    shape: tuple[int, int]
    """Height and width of its canvas."""
    px_per_frame_px: float
    """Pixels of its canvas per pixel of the frame, at most 1."""

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Pixels of the frame that hold all its pixels."""
        height, width = (
            math.ceil(round(side / self.px_per_frame_px, 6)) for side in self.shape
        )
        return height, width

    def read(self, box: Box) -> Labels:
        """Read a box of the frame: the pixel of the map under each centre.

        Which one that is depends on the pixel alone and not on the box.
        """
        rows, columns = (
            self._under(first, stop)
            for first, stop in ((box.y0, box.y1), (box.x0, box.x1))
        )
        source = Box(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        inside = source.intersection(Box.of_shape(self.shape))
        part = np.zeros(source.shape, np.uint32)
        if not inside.is_empty:
            read = self.store.read(NUCLEI_0, inside)
            part[inside.relative_to(source).slices()] = read
        if self.px_per_frame_px == 1:
            return part
        return part[np.ix_(rows - source.y0, columns - source.x0)]

    def _under(self, first: int, stop: int) -> NDArray[np.int64]:
        centres = np.arange(first, stop) + 0.5
        under: NDArray[np.int64] = np.floor(centres * self.px_per_frame_px).astype(
            np.int64
        )
        return under


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A slide in two runs, ready to be paired."""

    a: Run
    b: Run
    slide_id: str
    """The slide."""
    mapped: tuple[Mapped, Mapped] | None
    """The label maps; None if one is gone."""
    um_per_l0_px: float
    """Of the slide; the mean if the runs don't agree on it."""

    @property
    def rows(self) -> tuple[SlideRow, SlideRow]:
        """What the runs say of the slide."""
        return self.a.done[self.slide_id], self.b.done[self.slide_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What came to light in a band of a slide."""

    met: Met
    px: tuple[int, int, int]
    """Pixels of nuclei in A, in B, and in both; all 0 if paired by centres."""


def pairing_of(a: Run, b: Run, slide_id: str) -> Pairing:
    """Say how a slide that both runs have finished is paired."""
    mpps = [run.done[slide_id].mpp or 1.0 for run in (a, b)]
    return Pairing(
        a=a,
        b=b,
        slide_id=slide_id,
        mapped=_mapped(a, b, slide_id),
        um_per_l0_px=sum(mpps) / 2,
    )


def _mapped(a: Run, b: Run, slide_id: str) -> tuple[Mapped, Mapped] | None:
    stores = [SlideStore(run.layout.store(slide_id)) for run in (a, b)]
    if not all(store.has(NUCLEI_0) for store in stores):
        return None
    coarse = [downsample(run.done[slide_id]) for run in (a, b)]
    finest = min(coarse)
    in_a, in_b = (
        Mapped(
            store=store,
            shape=_canvas_shape(store),
            px_per_frame_px=_ratio(finest, of_run),
        )
        for store, of_run in zip(stores, coarse, strict=True)
    )
    return in_a, in_b


def downsample(row: SlideRow) -> float:
    """Return the level-0 pixels per canvas pixel of a slide in a run."""
    return (row.canvas_mpp or 1.0) / (row.mpp or 1.0)


def _ratio(finest: float, own: float) -> float:
    return 1.0 if math.isclose(finest, own, rel_tol=1e-9) else finest / own


def _canvas_shape(store: SlideStore) -> tuple[int, int]:
    height, width = store.shape(NUCLEI_0)
    return height, width


def pair(pairing: Pairing, *, box_px: int = BOX_PX) -> Iterator[Band]:
    """Pair the nuclei of a slide, from top to bottom.

    Raises
    ------
    StoreDamaged
        If a label map can't be read, or is not that of its table.
    """
    if pairing.mapped is None:
        return _by_centres(pairing, box_px)
    return _by_outlines(pairing, *pairing.mapped, box_px)


def _by_outlines(pairing: Pairing, a: Mapped, b: Mapped, box_px: int) -> Iterator[Band]:
    height, width = (
        max(sides) for sides in zip(a.frame_shape, b.frame_shape, strict=True)
    )
    rows_a, rows_b = (
        RowsInOrder(
            _parts(run, pairing.slide_id),
            columns=READ_COLUMNS,
            name=_named(run, pairing),
        )
        for run in (pairing.a, pairing.b)
    )
    for band in agreement.bands(a.read, b.read, (height, width), box_px):
        told = band.told
        met = Met(
            a=rows_a.take(told.a),
            b=rows_b.take(told.b),
            iou=told.iou,
            only_a=rows_a.take(told.only_a.ids),
            only_b=rows_b.take(told.only_b.ids),
            best_iou_a=told.only_a.best_iou,
            best_iou_b=told.only_b.best_iou,
        )
        _check_areas(pairing, told, met)
        yield Band(met=met, px=band.px)
        rows_a.forget(band.waiting[0])
        rows_b.forget(band.waiting[1])
    rows_a.finish()
    rows_b.finish()


def _parts(run: Run, slide_id: str) -> Iterator[pd.DataFrame]:
    return iter_nuclei(run.layout.out, slide_id, columns=READ_COLUMNS)


def _named(run: Run, pairing: Pairing) -> str:
    return f"slide {pairing.slide_id} in {run.name} ({run.layout.out})"


def _check_areas(pairing: Pairing, told: agreement.Told, met: Met) -> None:
    """Refuse a label map in which a nucleus has other pixels than in its table."""
    seen = (
        (pairing.a, 0, (met.a, told.px[0]), (met.only_a, told.only_a.px)),
        (pairing.b, 1, (met.b, told.px[1]), (met.only_b, told.only_b.px)),
    )
    for run, side, *of_side in seen:
        mapped = pairing.mapped[side] if pairing.mapped else None
        if mapped is None or mapped.px_per_frame_px != 1:
            continue
        um2_per_px = (pairing.rows[side].canvas_mpp or 1.0) ** 2
        for rows, px in of_side:
            other = np.rint(rows["area_um2"].to_numpy(float) / um2_per_px) != px
            if other.any():
                raise StoreDamaged(_other_area(run, pairing, rows[other], px[other]))


def _other_area(run: Run, pairing: Pairing, rows: pd.DataFrame, px: Ints) -> str:
    one = rows.iloc[0]
    return (
        f"Nucleus {one['nucleus_id']} of {_named(run, pairing)} has {px[0]} pixels in "
        f"the label map, but {one['area_um2']:.2f} um2 in the table: {len(px)} nuclei "
        "are cut. Chunks of the map are gone. Run the slide again: what is lost is "
        "computed anew."
    )


def _by_centres(pairing: Pairing, box_px: int) -> Iterator[Band]:
    """Pair centres within ``RADIUS_UM``, holding those that hang on what is below."""
    radius_px = RADIUS_UM / pairing.um_per_l0_px
    height = pairing.rows[0].slide_shape[0]
    lines = [*range(box_px, height, box_px), math.inf]
    streams = [
        _by_height(_parts(run, pairing.slide_id), lines)
        for run in (pairing.a, pairing.b)
    ]
    held = [pd.DataFrame(columns=list(READ_COLUMNS))] * 2
    for line, *rows in zip(lines, *streams, strict=True):
        a, b = (_stacked(old, new) for old, new in zip(held, rows, strict=True))
        points = _points(a), _points(b)
        ready = settled(*points, radius_px, below_y=line)
        held = [a[~ready[0]], b[~ready[1]]]
        yield Band(met=_met(a[ready[0]], b[ready[1]], radius_px), px=(0, 0, 0))


def _met(a: pd.DataFrame, b: pd.DataFrame, radius_px: float) -> Met:
    a, b = (rows.sort_values("nucleus_id", ignore_index=True) for rows in (a, b))
    at, to = match_points(_points(a), _points(b), radius_px)
    only_a = a.drop(index=a.index[at])
    only_b = b.drop(index=b.index[to])
    return Met(
        a=a.iloc[at],
        b=b.iloc[to],
        iou=np.full(len(at), np.nan),
        only_a=only_a,
        only_b=only_b,
        best_iou_a=np.full(len(only_a), np.nan),
        best_iou_b=np.full(len(only_b), np.nan),
    )


def _points(rows: pd.DataFrame) -> Floats:
    return rows[["y_l0_px", "x_l0_px"]].to_numpy(np.float64)


def _stacked(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([old, new], ignore_index=True) if len(old) else new


def _by_height(
    parts: Iterator[pd.DataFrame], lines: Iterable[float]
) -> Iterator[pd.DataFrame]:
    """Yield the nuclei with centres above each line in turn, each nucleus once.

    Ids ascend with a nucleus's first row, which lies above its centre.
    """
    held = pd.DataFrame(columns=list(READ_COLUMNS))
    for line in lines:
        while not len(held) or held["ymin_l0_px"].iloc[-1] < line:
            part = next(parts, None)
            if part is None:
                break
            held = _stacked(held, part)
        above = held["y_l0_px"].to_numpy(float) < line
        yield held[above].reset_index(drop=True)
        held = held[~above]
