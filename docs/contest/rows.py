"""What was measured, in ``docs/networks.json``: a row per contender."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from pathlib import Path
from typing import Any

import torch

from contest import DOCS
from contest.budget import Budget, recipe_of
from contest.contenders import Contender

ROWS = DOCS / "networks.json"
FOLLOWS = {"steps", "warmup_steps", "ema", "save_every"}
"""Fields of a recipe that follow from what the budget buys."""
DEV_IMAGES = "dev_images"
"""A setting that training doesn't depend on."""
ABOUT = {"name", "manifest", "sets", "licence", "data"}
"""Fields that are the same for all, or say nothing of the training."""


def settings_of(contender: Contender, budget: Budget) -> dict[str, Any]:
    """Return what decides a row: if it changes, the row is made anew."""
    recipe = recipe_of(contender, budget, Path("manifest.csv"), 1)
    fields = recipe.model_dump(
        mode="json", exclude=FOLLOWS | ABOUT, exclude_defaults=True
    )
    return {"minutes": budget.minutes, "device": budget.device, **fields}


def weights_of(contender: Contender, out: Path) -> Path | None:
    """Return the weights that the row of a contender tells of, if they are there."""
    settings = read_rows().get(contender.name, {}).get("settings")
    found = None if settings is None else _folder(contender, settings, out)
    weights = found / f"{contender.name}.safetensors" if found else None
    return weights if weights is not None and weights.is_file() else None


def folder_of(contender: Contender, budget: Budget, out: Path) -> Path:
    """Return the folder of a contender's run, another for other settings."""
    return _folder(contender, settings_of(contender, budget), out)


def _folder(contender: Contender, settings: dict[str, Any], out: Path) -> Path:
    own = {name: value for name, value in settings.items() if name != DEV_IMAGES}
    text = json.dumps(own, sort_keys=True)
    return out / f"{contender.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def read_rows() -> dict[str, dict[str, Any]]:
    """Return the rows by contender; none if there is no file."""
    if not ROWS.exists():
        return {}
    rows: dict[str, dict[str, Any]] = json.loads(ROWS.read_text(encoding="utf-8"))
    return rows


def write_row(name: str, **parts: Any) -> None:  # noqa: ANN401 - JSON
    """Add parts to a row, or replace them, and write the file whole."""
    rows = read_rows()
    rows[name] = rows.get(name, {}) | parts
    whole = ROWS.with_suffix(".json.tmp")
    text = json.dumps(dict(sorted(rows.items())), indent=1)
    whole.write_text(text + "\n", encoding="utf-8")
    whole.replace(ROWS)


def device_title(device: str) -> str:
    """Return what the page calls a device: its model."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    models = re.findall(r"^model name\s*: (.*)$", _cpu_facts(), re.MULTILINE)
    return f"one thread of {models[0] if models else platform.machine()}"


def _cpu_facts() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8") if path.exists() else ""
