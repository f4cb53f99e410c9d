"""What a plan rests on, so that one can tell without planning whether it still holds.

A plan follows from the slide's files, the tissue mask that is given, and choices. Files
are compared by their sizes and times, and by content only if those differ; choices by a
hash. How the work is cut up and where it runs changes no result, but whether a slide
fails may depend on it: a failure rests on those choices as well.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import Any

from segpipe.config import Settings, SlideRef, mask_of
from segpipe.errors import SlideError
from segpipe.slides import slide_fingerprint, stat_signature
from segpipe.stages.devices import kind_of
from segpipe.stages.path import STAGES
from segpipe.stages.plan import Grounds, NetworkRef
from segpipe.tables.schema import SCHEMA_VERSION

BY_VALUE = frozenset({"network", "weights", "device", "tissue_mask"})
"""Settings that count by what they come to, not as they are given."""
OF_THE_RUN = frozenset({"max_quarantined"})
"""Settings that matter to no slide."""
OF_THE_WORK = frozenset(
    {
        "tile_px",
        "halo_px",
        "workers",
        "scheduler",
        "cluster",
        "slides_at_once",
        "report",
    }
)
"""Settings that say how a result is come by: only whether that fails may depend on
them. All others count, also those that are added."""


def signature_of(slide: SlideRef, settings: Settings) -> str:
    """Return what the slide's files and its mask look like now; empty if missing."""
    mask = mask_of(slide, settings)
    beside = () if mask is None else (mask.resolve(),)
    return stat_signature(slide.path.resolve(), *beside)


def content_of(
    slide: SlideRef, settings: Settings, fingerprint: str | None = None
) -> str:
    """Return a hash of the slide's content and of its mask's; empty if unreadable.

    Parameters
    ----------
    slide, settings
        Where they are.
    fingerprint
        Of the slide, if it is known.
    """
    mask = mask_of(slide, settings)
    try:
        known = fingerprint or slide_fingerprint(slide.path.resolve())
        if mask is None:
            return known
        return f"{known}+{hashlib.sha256(mask.read_bytes()).hexdigest()}"
    except (SlideError, OSError):
        return ""


def model_digest(network: NetworkRef, mpp: float, device: str) -> str:
    """Return a hash of what is the same for every slide of a run but its settings.

    Parameters
    ----------
    network
        Network and weights.
    mpp
        Micrometres per pixel that the weights want.
    device
        Where the network runs; a GPU's number doesn't count.

    Returns
    -------
    str
        Also of the versions of the stages, of the table and of segpipe: a slide is
        planned anew by a new segpipe, and done anew if that comes to another result.
    """
    return _digest(
        {
            "network": network.model_dump(mode="json", exclude={"weights"}),
            "mpp": mpp,
            "device": kind_of(device),
            "stages": {stage.name: stage.version for stage in STAGES},
            "schema": SCHEMA_VERSION,
            "segpipe": version("segpipe"),
        }
    )


def choices_of(
    slide: SlideRef, settings: Settings, model: str, *, of_work: bool = False
) -> str:
    """Return a hash of the choices that a result, or also a failure, rests on.

    Parameters
    ----------
    slide, settings
        What was asked for.
    model
        As `model_digest` returned it.
    of_work
        Whether choices count that matter to the work but not to its result.
    """
    passed = BY_VALUE | OF_THE_RUN if of_work else BY_VALUE | OF_THE_RUN | OF_THE_WORK
    chosen = settings.model_dump(mode="json", exclude=set(passed))
    chosen["keep"] = sorted(chosen["keep"])
    mask = mask_of(slide, settings)
    return _digest(
        {
            "slide": slide.id,
            "mpp": slide.mpp,
            "has_mask": mask is not None,
            "settings": chosen,
            "model": model,
        }
    )


def still_hold(recorded: Grounds, now: Grounds) -> bool | None:
    """Whether grounds are the same; None if only the content can tell.

    ``now.content`` isn't looked at.
    """
    if recorded.choices != now.choices:
        return False
    if recorded.path == now.path and recorded.signature == now.signature:
        return True
    return None if recorded.content else False


def _digest(value: dict[str, Any]) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()
