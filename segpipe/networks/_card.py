"""The card of weights: what they are, where they come from, how well they do.

A TOML file beside the safetensors file, of the same name.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from segpipe.errors import WeightsError

Number = int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is known about a weights file."""

    name: str
    """Name of these weights."""
    network: str
    """Name of the network they belong to."""
    sha256: str
    """Of the safetensors file, in hexadecimal."""
    mpp: float
    """Micrometres per pixel they were trained at."""
    types: tuple[str, ...] = ()
    """Names of the nucleus types, in the order of the type map's channels."""
    licence: str = ""
    data: str = ""
    """Where the training images come from, with citations."""
    recipe: str = ""
    """The recipe they were trained by."""
    decoding: Mapping[str, Number] = field(default_factory=dict)
    """Constants of the decoder that differ from the network's defaults."""
    scores: Mapping[str, Mapping[str, Number]] = field(default_factory=dict)
    """Scores by set, with the names of ``metrics.json``."""

    def to_toml(self) -> str:
        """Return the card as the text of a TOML file."""
        plain = asdict(self)
        decoding, scores = plain.pop("decoding"), plain.pop("scores")
        lines = [*_pairs(plain), "", "[decoding]", *_pairs(decoding)]
        for name, row in scores.items():
            lines += ["", f"[scores.{_text(name)}]", *_pairs(row)]
        return "\n".join(lines) + "\n"


def card_of(weights: Path) -> Card:
    """Read the card of a weights file.

    Parameters
    ----------
    weights
        The ``.safetensors`` file; its card is the ``.toml`` file beside it.

    Raises
    ------
    WeightsError
        If the card is missing, no TOML, or lacks a field.
    """
    path = weights.with_suffix(".toml")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = (
            f"The weights {weights} need a card beside them, {path.name}, which says "
            f"what they are; it can't be read: {error.strerror}."
        )
        raise WeightsError(message) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"The card {path} is not TOML: {error}."
        raise WeightsError(message) from error
    return _card(table, path)


def _card(table: dict[str, Any], path: Path) -> Card:
    known = {one.name for one in fields(Card)}
    foreign = sorted(set(table) - known)
    missing = sorted({"name", "network", "sha256", "mpp"} - set(table))
    if foreign or missing:
        message = (
            f"The card {path} lacks {', '.join(missing) or 'nothing'} and has the "
            f"unknown fields {', '.join(foreign) or 'none'}."
        )
        raise WeightsError(message)
    return Card(**{**table, "types": tuple(table.get("types", ()))})


def _pairs(row: Mapping[str, Any]) -> Iterator[str]:
    return (f"{key} = {_text(value)}" for key, value in row.items())


def _text(value: Any) -> str:  # noqa: ANN401 - any plain TOML value
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_text, value))}]"
    return json.dumps(value, ensure_ascii=False)
