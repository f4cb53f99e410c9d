"""Keys: what the results of each stage depend on, hashed.

A stage's key holds that of the stage before it, so changing a setting changes the keys
of exactly the stages that depend on it. The tiling enters the keys of the stages that
lay out their scratch by tiles, but not the key of the result, which is the same for
any tiling.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from segpipe.stages.devices import kind_of
from segpipe.stages.path import STAGES
from segpipe.stages.plan import MIN_PROB, Plan
from segpipe.tables.schema import SCHEMA_VERSION

LONG = 100
"""Letters of an ingredient that is shortened."""


def stage_keys(plan: Plan) -> dict[str, str]:
    """Return the key of each stage."""
    return _chained(_dependencies(plan, {"tile_px": plan.tiles.tile_px}))


def result_key(plan: Plan) -> str:
    """Return the key of the table: that of its last stage, less the tiling."""
    return _chained(_dependencies(plan, {}))["measure"]


def ingredients(plan: Plan) -> dict[str, dict[str, str]]:
    """Return what enters each stage's key beside the key of the stage before, as text.

    Long lists are said by length and hash: this is for telling what changed.
    """
    used = _dependencies(plan, {"tile_px": plan.tiles.tile_px})
    return {
        stage.name: {
            "version of the stage": str(stage.version),
            **dict(_flat(used[stage.name])),
        }
        for stage in STAGES
    }


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            text = json.dumps(value)
            yield prefix + name, text if len(text) < LONG else _shortened(value, text)


def _shortened(value: Any, text: str) -> str:  # noqa: ANN401 - any JSON value
    digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return f"{len(value)} {'items' if isinstance(value, list) else 'letters'} {digest}"


def _dependencies(plan: Plan, tiling: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Return what each stage uses beside the results of the stage before."""
    pixels = {"fingerprint", "reader", "canvas", "windows", "image_windows"}
    settings, network = plan.settings, plan.network
    return {
        "tile": plan.model_dump(mode="json", include=pixels),
        "predict": {
            "windows": plan.tissue_windows,
            "network": network.name,
            "weights": network.sha256,
            "device": kind_of(plan.device),
            **({"decoding": network.decoding} if network.detects else {}),
        },
        "label": {
            "decoding": {n: v for n, v in network.decoding.items() if n != MIN_PROB},
            **tiling,
        },
        "stitch": {
            "min_area_um2": settings.min_area_um2,
            "max_extent_um": settings.max_extent_um,
            MIN_PROB: plan.min_prob,
        },
        "measure": {
            "schema": SCHEMA_VERSION,
            "slide": plan.slide.id,
            "slide_mpp": plan.slide_mpp,
            "types": network.types,
        },
    }


def _chained(dependencies: dict[str, dict[str, Any]]) -> dict[str, str]:
    keys: dict[str, str] = {}
    upstream = ""
    for stage in STAGES:
        content = [stage.name, stage.version, dependencies[stage.name], upstream]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        digest = hashlib.blake2b(canonical.encode(), digest_size=8)
        upstream = keys[stage.name] = digest.hexdigest()
    return keys
