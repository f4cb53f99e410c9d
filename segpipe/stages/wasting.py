"""What of a slide nothing refers to any more: decided from names alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from segpipe.stages.keeping import KEPT_WITH, dropped_stages

RECEIPTS = re.compile(rf"^({'|'.join(KEPT_WITH)})-([0-9a-f]+)$")
"""Names of the folders of receipts: stage and key."""
TEMPORARY = re.compile(r"^\..+\.\d+\.tmp$")
"""Names of files that are not yet what they are going to be."""
VOUCHED_BY = {
    "image": ("tile",),
    "maps": ("predict",),
    "detections": ("predict",),
    "scratch.zarr": ("label",),
    "instances": ("label", "stitch"),
    "parts": ("measure",),
}
"""Arrays that may go, and the stages whose receipts say that they are worth keeping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is there of a slide that a plan or a row is known of."""

    names: Collection[str]
    """In its ledger, and the groups of its store."""
    keys: Mapping[str, str]
    """Keys of the last plan, by stage."""
    keep: Collection[str]
    """What that plan keeps."""
    is_finished: bool
    """Whether the row that stands is of that plan."""


def unreferenced(found: Found) -> dict[str, str]:
    """Return the names that may go, with the reason; receipts before arrays."""
    wasted = {
        name: reason
        for name in sorted(found.names)
        if (reason := _why_receipts(name, found)) is not None
    }
    vouching = {
        match[1]
        for name in set(found.names) - set(wasted)
        if (match := RECEIPTS.match(name))
    }
    kept = found.keep if found.is_finished else frozenset()
    for name, stages in VOUCHED_BY.items():
        if name in found.names and name not in kept and vouching.isdisjoint(stages):
            what = "not kept" if found.is_finished else "no receipts vouch for it"
            wasted[name] = what
    return wasted


def _why_receipts(name: str, found: Found) -> str | None:
    if name == "lock":
        return "lock of an earlier version"
    match = RECEIPTS.match(name)
    if match is None:
        return None
    stage, key = match.groups()
    if found.keys.get(stage) != key:
        return "receipts of another key"
    if found.is_finished and stage in dropped_stages(found.keep):
        return "receipts of a finished slide"
    return None
