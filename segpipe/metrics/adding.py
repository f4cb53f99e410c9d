"""Counts that add up over images, field by field."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any, ClassVar, Self


class Additive:
    """A dataclass of which two are added by adding each field."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __add__(self, other: Self) -> Self:
        names = [field.name for field in fields(self)]
        return type(self)(**{n: getattr(self, n) + getattr(other, n) for n in names})
