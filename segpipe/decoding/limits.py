"""Refusing constants of a decoder that it can't work with."""

from __future__ import annotations

from collections.abc import Mapping

from segpipe.errors import SettingsError


def check_limits(
    decoding: object, limits: Mapping[str, tuple[float, float]], decoder: str
) -> None:
    """Raise if a constant lies outside its least and greatest value.

    Raises
    ------
    SettingsError
        With the constant, its value and its limits.
    """
    for name, (low, high) in limits.items():
        value = getattr(decoding, name)
        if not low <= value <= high:
            message = f"{name} is {value}; the {decoder} decoder takes {low} to {high}."
            raise SettingsError(message)
