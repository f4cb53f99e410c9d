"""How scores are written, on pages and in the terminal."""

from __future__ import annotations

NOTHING = "–"
"""Stands where there is nothing to score."""
AGREEMENT = {
    "f1": "F1",
    "sq": "SQ",
    "pq": "PQ",
    "dice": "Dice",
    "kappa": "κ of types",
}
"""Scores of two runs that are compared, and how they are called."""


def score_text(value: float | None, form: str = ".3f") -> str:
    """Write a score as ``format`` does, or `NOTHING` for None."""
    return NOTHING if value is None else f"{value:{form}}"
