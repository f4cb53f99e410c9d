"""The page: tables of what ``docs/networks.json`` holds, into ``docs/networks.md``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from render import filled

from contest import DOCS
from contest.contenders import ABLATIONS, LIGHT, PUBLISHED, Contender
from contest.rows import read_rows

PAGE = DOCS / "networks.md"
SCORES = {"dice": "Dice", "aji": "AJI", "pq": "PQ", "ap50": "AP50", "map": "mAP"}
KUMAR, CONSEP = "kumar-16", "consep-held-out"
NOTHING = "–"
Row = Mapping[str, Any]


def rendered() -> str:
    """Return the page with its tables as they should be."""
    page, rows = PAGE.read_text(encoding="utf-8"), read_rows()
    parts = {
        "scores": scores_table((*LIGHT, *PUBLISHED), rows),
        "speed": speed_table((*LIGHT, *PUBLISHED), rows),
        "ablations": ablations_table(rows),
    }
    for name, content in parts.items():
        page = filled(page, name, content)
    return page


def is_stale() -> bool:
    """Tell whether the page says other than the rows."""
    return rendered() != PAGE.read_text(encoding="utf-8")


def scores_table(contenders: Iterable[Contender], rows: Mapping[str, Row]) -> str:
    """Return what each got, and how it scores."""
    head = ["network", "starts from", "budget", "steps"]
    head += [
        f"{title} {name}" for name in ("kumar", "consep") for title in SCORES.values()
    ]
    return table(head, [_score_line(one, rows.get(one.name, {})) for one in contenders])


def _score_line(one: Contender, row: Row) -> list[str]:
    start = "ImageNet" if one.encoder_weights else "random"
    if "scores" not in row:
        gone = f"too few: {row['steps']}" if "steps" in row else "not yet run"
        return [f"`{one.name}`", start, _budget(row), gone, *[""] * (2 * len(SCORES))]
    values = [_score(row, name, key) for name in (KUMAR, CONSEP) for key in SCORES]
    return [f"`{one.name}`", start, _budget(row), f"{row['steps']:,}", *values]


def _budget(row: Row) -> str:
    if "settings" not in row:
        return NOTHING
    settings = row["settings"]
    return f"{settings['minutes']:g} min, {settings['device'].upper()}"


def _score(row: Row, name: str, key: str) -> str:
    value = row["scores"][name][key]
    return NOTHING if value is None else f"{value:.3f}"


def speed_table(contenders: Iterable[Contender], rows: Mapping[str, Row]) -> str:
    """Return how large each is and what it costs, on every device it was timed on."""
    known = {one.name: rows.get(one.name, {}) for one in contenders}
    devices = sorted({d for row in known.values() for d in row.get("speed", {})})
    head = ["network", "µm/px", "parameters, M", "kFLOP/px", "GFLOP/mm²"]
    for device in devices:
        titles = ("module, Mpx/s", "decoding, Mpx/s", "both, mm²/min")
        head += [f"{device}: {title}" for title in titles]
    lines = [
        [f"`{name}`", *_sizes(row["size"]), *_costs(row, devices)]
        for name, row in known.items()
        if "size" in row
    ]
    return table(head, lines)


def _sizes(size: Row) -> list[str]:
    per_px, mpp = 1e6 * size["mflop_px"], size["mpp"]
    per_mm2 = per_px * (1000 / mpp) ** 2
    return [
        f"{mpp:g}",
        f"{size['parameters_m']:.1f}",
        f"{per_px / 1e3:,.0f}",
        f"{per_mm2 / 1e9:,.0f}",
    ]


def _costs(row: Row, devices: Sequence[str]) -> list[str]:
    cells = []
    for device in devices:
        cells += _cost(row.get("speed", {}).get(device), row["size"]["mpp"])
    return cells


def _cost(cost: Row | None, mpp: float) -> list[str]:
    if cost is None:
        return [NOTHING] * 3
    forward_s, rest_s = cost["forward_s"], cost["rest_s"]
    forward = f"{1 / forward_s:.3g}"
    if not rest_s:
        return [forward, NOTHING, NOTHING]
    both = 60 * mpp**2 / (forward_s + rest_s)
    return [forward, f"{1 / rest_s:.3g}", f"{both:.3g}"]


def ablations_table(rows: Mapping[str, Row]) -> str:
    """Return what each change does to the scores on kumar-16."""
    head = ["changed", "network", "against", "budget", "steps"]
    head += [f"{title} (change)" for title in SCORES.values()]
    lines = [
        [
            one.asks,
            f"`{one.name}`",
            f"`{one.against}`",
            *_changes(rows.get(one.name, {}), rows.get(one.against, {})),
        ]
        for one in ABLATIONS
    ]
    return table(head, lines)


def _changes(row: Row, against: Row) -> list[str]:
    if "scores" not in row:
        return ["not yet run", *[""] * (1 + len(SCORES))]
    alike = "scores" in against and _budget(row) == _budget(against)
    cells = []
    for key in SCORES:
        value = row["scores"][KUMAR][key]
        before = against["scores"][KUMAR][key] if alike else None
        by = "" if None in {value, before} else f" ({value - before:+.3f})"
        cells.append(_score(row, KUMAR, key) + by)
    return [_budget(row), f"{row['steps']:,}", *cells]


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    whole = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in whole)
