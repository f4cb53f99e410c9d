"""What is known of each slide after a run: the rows of ``slides.parquet``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.errors import StoreDamaged
from segpipe.stores.durable import replacing
from segpipe.tables.seams import SeamCheck

STAGES = ("tile", "predict", "label", "stitch", "measure")
"""Stages whose seconds have a column ``seconds_<stage>``."""
ENLARGED = 1.05
"""A slide's pixels are called enlarged beyond this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideRow:
    """One slide of a run, done or quarantined."""

    slide_id: str
    """Name of the slide in every output."""
    path: str
    """Where it was read."""
    status: Literal["done", "quarantined"]
    """Whether it has a table."""
    reason: str = ""
    """Why it has none, in one sentence."""
    n_nuclei: int = 0
    """Nuclei found."""
    tissue_mm2: float = 0.0
    """Area of the tissue mask."""
    mpp: float | None = None
    """Micrometres per level-0 pixel."""
    canvas_mpp: float | None = None
    """Micrometres per pixel at which nuclei were sought."""
    slide_shape: tuple[int, int] = (0, 0)
    """Height and width of level 0."""
    n_levels: int = 0
    """Levels of the slide."""
    reader: str = ""
    """Reader that opened it."""
    network: str = ""
    """Network."""
    weights_sha256: str = ""
    """Its weights."""
    n_tiles: int = 0
    """Tiles with tissue."""
    n_windows: int = 0
    """Windows that the network was run on."""
    n_too_large: int | None = None
    """Nuclei that a detector dropped as larger than its windows surely see whole."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage, for stages in ``STAGES``."""
    seam: SeamCheck | None = None
    """Nuclei at seams against the rest."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the run; plain JSON values."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of segpipe and of what it computes with."""
    fingerprint: str = ""
    """Hash of the slide's content."""
    result_key: str = ""
    """Hash of everything that the table depends on."""

    @property
    def nuclei_per_mm2(self) -> float:
        """Nuclei by area of tissue; 0 without tissue."""
        return self.n_nuclei / self.tissue_mm2 if self.tissue_mm2 else 0.0

    @property
    def segmented_at(self) -> str:
        """The canvas for people: its resolution, and that the slide was enlarged."""
        if self.mpp is None or self.canvas_mpp is None:
            return "—"
        enlarged = self.mpp / self.canvas_mpp
        more = f", enlarged {enlarged:.3g} times" if enlarged > ENLARGED else ""
        return f"{self.canvas_mpp:.4g} µm per pixel{more}"

    def to_json(self) -> str:
        """Return the row as JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the row that ``to_json`` wrote.

        Raises
        ------
        StoreDamaged
            If the text is no such row.
        """
        try:
            facts = json.loads(text)
            seam = facts.pop("seam")
            shape = tuple(facts.pop("slide_shape"))
            return cls(
                **facts, slide_shape=shape, seam=SeamCheck(**seam) if seam else None
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = (
                f"The stored row of a slide can't be read: {error!r}. "
                "Delete it and run again; finished stages are kept."
            )
            raise StoreDamaged(message) from error


def write_slides(rows: Iterable[SlideRow], path: Path) -> None:
    """Write ``slides.parquet``, a row per slide, in order of ``slide_id``."""
    records = [_record(row) for row in sorted(rows, key=lambda row: row.slide_id)]
    table = pa.Table.from_pylist(records, schema=slides_schema())
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_slides(path: str | PathLike[str]) -> list[SlideRow]:
    """Read ``slides.parquet`` back.

    Raises
    ------
    StoreDamaged
        If the file is missing or damaged.
    """
    try:
        records = pq.read_table(path, schema=slides_schema()).to_pylist()
    except (OSError, pa.ArrowException) as error:
        message = f"{path} can't be read: {error}. Run again; finished slides are kept."
        raise StoreDamaged(message) from error
    return [_row(record) for record in records]


_PLAIN = {
    "slide_id": pa.string(),
    "path": pa.string(),
    "status": pa.string(),
    "reason": pa.string(),
    "n_nuclei": pa.int64(),
    "tissue_mm2": pa.float64(),
    "mpp": pa.float64(),
    "canvas_mpp": pa.float64(),
    "n_levels": pa.int32(),
    "reader": pa.string(),
    "network": pa.string(),
    "weights_sha256": pa.string(),
    "n_tiles": pa.int64(),
    "n_windows": pa.int64(),
    "n_too_large": pa.int64(),
    "fingerprint": pa.string(),
    "result_key": pa.string(),
}
"""Fields that are columns as they are."""
_JSON = ("settings", "versions")
"""Fields that are columns of JSON text."""
_SEAM = {
    "n_near": pa.int64(),
    "n_interior": pa.int64(),
    "density_ratio": pa.float64(),
    "area_ratio": pa.float64(),
    "straight_share_near": pa.float64(),
    "straight_share_interior": pa.float64(),
}
"""Fields of the seam check, in columns ``seam_<name>``."""


def slides_schema() -> pa.Schema:
    """Return the columns of ``slides.parquet``."""
    return pa.schema(
        {
            **_PLAIN,
            "nuclei_per_mm2": pa.float64(),
            "slide_height_px": pa.int64(),
            "slide_width_px": pa.int64(),
            **{f"seconds_{stage}": pa.float64() for stage in STAGES},
            **{f"seam_{name}": type_ for name, type_ in _SEAM.items()},
            **dict.fromkeys(_JSON, pa.string()),
        }
    )


def _record(row: SlideRow) -> dict[str, Any]:
    """Lay a row flat."""
    return {
        **{name: getattr(row, name) for name in _PLAIN},
        "nuclei_per_mm2": row.nuclei_per_mm2,
        "slide_height_px": row.slide_shape[0],
        "slide_width_px": row.slide_shape[1],
        **{f"seconds_{stage}": row.seconds.get(stage) for stage in STAGES},
        **{f"seam_{name}": getattr(row.seam, name, None) for name in _SEAM},
        **{
            name: json.dumps(dict(getattr(row, name)), sort_keys=True) for name in _JSON
        },
    }


def _row(record: Mapping[str, Any]) -> SlideRow:
    """Undo ``_record``."""
    seconds = {stage: record[f"seconds_{stage}"] for stage in STAGES}
    seam = {name: record[f"seam_{name}"] for name in _SEAM}
    return SlideRow(
        **{name: record[name] for name in _PLAIN},
        slide_shape=(record["slide_height_px"], record["slide_width_px"]),
        seconds={stage: s for stage, s in seconds.items() if s is not None},
        seam=SeamCheck(**seam) if seam["n_near"] is not None else None,
        **{name: json.loads(record[name]) for name in _JSON},
    )
