"""The card of weights: what they are, where they come from, how well they do.

A TOML file beside the safetensors file, of the same name.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

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
        """Return the card as the text of a TOML file.

        Raises
        ------
        WeightsError
            If a value is not what `card_of` takes.
        """
        plain = asdict(self)
        _check(plain, f"of {self.name}")
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
        If the card is missing, no TOML, lacks a field, or a value won't do.
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
    except ValueError as error:
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
    _check(table, str(path))
    return Card(**{**table, "types": tuple(table.get("types", ()))})


class _Kind(NamedTuple):
    """What a value of a card may be."""

    wanted: str
    holds: Callable[[Any], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-fA-F]+", value) is not None


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def _is_positive(value: Any) -> bool:  # noqa: ANN401 - any TOML value
    return _is_number(value) and bool(value > 0)


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


_TEXT = _Kind("text", _is_text)
_NUMBER = _Kind("a finite number", _is_number)
_TABLE = _Kind("a table", _is_table)
_KINDS: Mapping[str, _Kind] = {
    "name": _TEXT,
    "network": _TEXT,
    "sha256": _Kind("text of hexadecimal digits", _is_hash),
    "mpp": _Kind("a finite number above 0", _is_positive),
    "types": _Kind("a list of names", _is_list_of_names),
    "licence": _TEXT,
    "data": _TEXT,
    "recipe": _TEXT,
    "decoding": _TABLE,
    "scores": _TABLE,
}
"""What each field may be."""


def _check(table: Mapping[str, Any], card: str) -> None:
    """Refuse values that won't do.

    Raises
    ------
    WeightsError
        At the first such.
    """
    for place, value, kind in _values(table):
        if not kind.holds(value):
            message = (
                f"The card {card} has {place} = {value!r}; it must be {kind.wanted}."
            )
            raise WeightsError(message)


def _values(table: Mapping[str, Any]) -> Iterator[tuple[str, Any, _Kind]]:
    """Yield each value, where it stands, and what it may be; tables before theirs."""
    for name, value in table.items():
        yield name, value, _KINDS[name]
    for name, row in table.get("scores", {}).items():
        yield f"scores.{name}", row, _TABLE
        yield from _numbers(f"scores.{name}", row)
    yield from _numbers("decoding", table.get("decoding", {}))


def _numbers(name: str, row: Mapping[str, Any]) -> Iterator[tuple[str, Any, _Kind]]:
    return ((f"{name}.{key}", value, _NUMBER) for key, value in row.items())


def _pairs(row: Mapping[str, Any]) -> Iterator[str]:
    return (f"{key} = {_text(value)}" for key, value in row.items())


def _text(value: Any) -> str:  # noqa: ANN401 - any plain TOML value
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_text, value))}]"
    return json.dumps(value, ensure_ascii=False)
