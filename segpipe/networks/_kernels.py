"""torchvision's compiled operators, where it imports; nothing here requires it."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any


@cache
def torchvision_ops() -> Any:  # noqa: ANN401 - a module without types
    """Return ``torchvision.ops``, or None if it doesn't import."""
    try:
        return importlib.import_module("torchvision.ops")
    # Without compiled operators that fit torch it raises RuntimeError.
    except (ImportError, RuntimeError):
        return None
