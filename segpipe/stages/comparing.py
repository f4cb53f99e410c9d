"""Two runs compared: slide by slide, and all slides together.

::

    OUT/compare.parquet              a row per slide: counts and scores
    OUT/nuclei.parquet               a row per nucleus of either run, and its partner
    OUT/differences/<id>.geojson     nuclei on which they differ, for QuPath
    OUT/compare.html                 a page, with pictures of where they differ most
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import OutputNotOurs, StoreDamaged
from segpipe.exports import differing, writing_features
from segpipe.metrics.agreement_scores import (
    Agreement,
    agreement_scores,
    confusion_of,
    count_areas,
    count_ious,
    names_of,
)
from segpipe.stages.finished_runs import (
    Common,
    Skipped,
    in_common,
    open_run,
)
from segpipe.stages.naming import is_slide_id
from segpipe.stages.outputs import naming_full_disk
from segpipe.stages.pairing import Band, Pairing, pair, pairing_of
from segpipe.stores.layout import Layout
from segpipe.tables.pairs import (
    Met,
    PairWriter,
    differ,
    iter_pairs,
    pair_rows,
    slides_of,
    write_rows,
    writing_pairs,
)
from segpipe.tables.slides import SlideRow

PLACE_UM = 80.0
"""Side of the places in which what differs is counted, and of their pictures."""
_PLACES_A_SLIDE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A square of a slide in which runs differ."""

    slide_id: str
    y_l0_px: int
    """First row."""
    x_l0_px: int
    """First column."""
    side_l0_px: int
    n_differing: int
    """Nuclei that one run has alone, or types otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSlide:
    """A slide in two runs."""

    slide_id: str
    rows: tuple[SlideRow, SlideRow]
    """What the runs say of it."""
    by: str
    """What nuclei were matched by: ``outlines`` or ``centres``."""
    agreement: Agreement
    places: tuple[Place, ...]
    """Where they differ most, the worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs."""

    common: Common
    slides: tuple[ComparedSlide, ...]
    skipped: tuple[Skipped, ...]
    """Slides that both hold and that were not compared."""

    @property
    def cohort(self) -> Agreement:
        """What all slides come to."""
        return sum((slide.agreement for slide in self.slides), start=Agreement())


def compare(
    folder_a: Path,
    folder_b: Path,
    out: Path | None = None,
    *,
    listener: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Compare the nuclei of every slide that two runs have finished.

    Parameters
    ----------
    folder_a, folder_b
        Result folders.
    out
        Folder for tables, GeoJSON and page; made if missing. Nothing is written if
        None.
    listener
        Told the id of each slide that is begun.

    Raises
    ------
    OutputNotOurs
        If one is no result folder, or ``out`` is one.
    SlideNotFound
        If no slide can be compared.
    StoreDamaged
        If none of the slides can be read.
    """
    common = in_common(open_run(folder_a, "A"), open_run(folder_b, "B"))
    if out is None:
        return _compared(common, None, listener)
    _refuse_result_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    with naming_full_disk(out):
        _forget(out)
        found = _compared(common, out, listener)
        write_rows(out / "compare.parquet", [record_of(one) for one in found.slides])
    return found


def record_of(slide: ComparedSlide) -> dict[str, Any]:
    """Return a slide's row of ``compare.parquet``."""
    a, b = slide.rows
    return {
        "slide_id": slide.slide_id,
        "matched_by": slide.by,
        "network_a": a.network,
        "network_b": b.network,
        "mpp_a": a.canvas_mpp,
        "mpp_b": b.canvas_mpp,
        **facts_of(slide.agreement),
    }


def facts_of(agreement: Agreement) -> dict[str, Any]:
    """Return counts and scores, None where there is nothing to score."""
    scores = agreement_scores(agreement)
    types = names_of(agreement.types)
    return {
        "n_a": agreement.n_a,
        "n_b": agreement.n_b,
        "n_matched": agreement.n_matched,
        "n_only_a": agreement.n_a - agreement.n_matched,
        "n_only_b": agreement.n_b - agreement.n_matched,
        "n_other_type": agreement.n_other_type,
        **{name: None if math.isnan(s) else s for name, s in scores.items()},
        "types": list(types),
        "confusion": confusion_of(agreement.types, types).tolist(),
    }


def _refuse_result_folder(out: Path) -> None:
    if Layout(out).holds_results:
        message = f"--out {out} is the result folder of a run. Choose another folder."
        raise OutputNotOurs(message)


def _forget(out: Path) -> None:
    """Remove what an earlier comparison said slide by slide, its table last."""
    table = out / "compare.parquet"
    for slide_id in filter(is_slide_id, slides_of(table)):
        _features_path(out, slide_id).unlink(missing_ok=True)
    table.unlink(missing_ok=True)


def _features_path(out: Path, slide_id: str) -> Path:
    return out / "differences" / f"{slide_id}.geojson"


def _compared(
    common: Common, out: Path | None, listener: Callable[[str], None]
) -> Comparison:
    """Compare slides; one that is damaged is skipped, unless all are."""
    slides: list[ComparedSlide] = []
    skipped = list(common.skipped)
    damage: StoreDamaged | None = None
    with ExitStack() as stack:
        compare_slide: Callable[[Pairing], ComparedSlide] = _sum_up
        if out is not None:
            append = stack.enter_context(writing_pairs(out / "nuclei.parquet"))
            compare_slide = partial(_write_slide, out=out, append=append)
        for slide_id in common.slide_ids:
            listener(slide_id)
            try:
                pairing = pairing_of(common.a, common.b, slide_id)
                slides.append(compare_slide(pairing))
            except StoreDamaged as error:
                damage = error
                skipped.append(Skipped(slide_id=slide_id, reason=str(error)))
        if damage is not None and not slides:
            raise damage
    return Comparison(common=common, slides=tuple(slides), skipped=tuple(skipped))


def _write_slide(pairing: Pairing, out: Path, append: PairWriter) -> ComparedSlide:
    """Compare a slide and write what was found, whole or not at all."""
    slide_id = pairing.slide_id
    with TemporaryDirectory(prefix=".compare-", dir=out) as scratch:
        rows = Path(scratch) / "rows.parquet"
        with (
            writing_pairs(rows) as write,
            writing_features(_features_path(out, slide_id)) as draw,
        ):

            def put(band: Band) -> None:
                write(pair_rows(slide_id, band.met, pairing.um_per_l0_px))
                draw(differing(band.met))

            found = _sum_up(pairing, put)
        for part in iter_pairs(rows):
            append(part)
    return found


def _sum_up(
    pairing: Pairing, each: Callable[[Band], None] = lambda _: None
) -> ComparedSlide:
    """Pair the nuclei of a slide and add up what comes to light."""
    agreement = Agreement()
    side_px = max(1, round(PLACE_UM / pairing.um_per_l0_px))
    height, width = pairing.rows[0].slide_shape
    grid = np.zeros((height // side_px + 1, width // side_px + 1), np.int64)
    for band in pair(pairing):
        each(band)
        agreement += _counts(band)
        y, x = _where_differing(band.met)
        np.add.at(grid, ((y // side_px).astype(int), (x // side_px).astype(int)), 1)
    return ComparedSlide(
        slide_id=pairing.slide_id,
        rows=pairing.rows,
        by="centres" if pairing.mapped is None else "outlines",
        agreement=agreement,
        places=_places(pairing.slide_id, grid, side_px),
    )


def _counts(band: Band) -> Agreement:
    met = band.met
    both = [rows["type_name"].astype(object).to_numpy() for rows in (met.a, met.b)]
    typed = [pair for pair in zip(*both, strict=True) if all(pair)]
    by_outlines = ~np.isnan(met.iou)
    return Agreement(
        n_a=len(met.a) + len(met.only_a),
        n_b=len(met.b) + len(met.only_b),
        n_matched=len(met.a),
        n_outlined=int(by_outlines.sum()),
        n_other_type=sum(in_a != in_b for in_a, in_b in typed),
        iou_parts=count_ious(met.iou[by_outlines]),
        a_px=band.px[0],
        b_px=band.px[1],
        common_px=band.px[2],
        types=Counter(typed),
        areas=count_areas(*(rows["area_um2"].to_numpy() for rows in (met.a, met.b))),
    )


def _where_differing(met: Met) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    other = met.a[differ(met.a["type_name"], met.b["type_name"])]
    rows = (met.only_a, met.only_b, other)
    y, x = (
        np.concatenate([part[f"{axis}_l0_px"].to_numpy(np.float64) for part in rows])
        for axis in "yx"
    )
    return y, x


def _places(slide_id: str, grid: NDArray[np.int64], side_px: int) -> tuple[Place, ...]:
    """Return the cells of a grid with the highest counts; of equals, the first."""
    worst = np.argsort(-grid, axis=None, kind="stable")[:_PLACES_A_SLIDE]
    return tuple(
        Place(
            slide_id=slide_id,
            y_l0_px=int(cell) // grid.shape[1] * side_px,
            x_l0_px=int(cell) % grid.shape[1] * side_px,
            side_l0_px=side_px,
            n_differing=int(grid.ravel()[cell]),
        )
        for cell in worst
        if grid.ravel()[cell]
    )
