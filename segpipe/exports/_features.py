"""GeoJSON that QuPath reads: a collection of detections, written one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from segpipe.exports._text import writing_text

Append = Callable[[Iterable[str]], None]
"""Appends features, as JSON texts, to a collection."""


@contextmanager
def writing_features(path: Path) -> Iterator[Append]:
    """Write a feature collection, whole or not at all; a feature a line."""
    with writing_text(path) as text:
        text.write('{"type":"FeatureCollection","features":[')
        separator = "\n"

        def append(features: Iterable[str]) -> None:
            nonlocal separator
            for feature in features:
                text.write(separator + feature)
                separator = ",\n"

        yield append
        text.write("\n]}\n")


def detection(
    outline: str, name: str, *, classification: str, measurements: str
) -> str:
    """Return a detection as a JSON text.

    Parameters
    ----------
    outline
        GeoJSON of its polygon, in level-0 pixels.
    name
        What it is called.
    classification
        As `classified` returns it; empty if it has none.
    measurements
        JSON object of numbers by name.
    """
    return (
        f'{{"type":"Feature","geometry":{outline},"properties":'
        f'{{"objectType":"detection","name":{json.dumps(name)},{classification}'
        f'"measurements":{measurements}}}}}'
    )


def classified(name: str, colour: tuple[int, int, int]) -> str:
    """Return a class and its colour as a JSON member."""
    value = {"name": name, "color": colour}
    return f'"classification":{json.dumps(value)},'
