"""From what stands on the command line to slides with ids that are theirs alone."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from flows.manifests import Listed, read_manifest
from segpipe.config import SlideRef
from segpipe.errors import SettingsError, SlideError, SlideNotFound
from segpipe.slides import find_slides, slide_fingerprint
from segpipe.stages.known import KnownSlides
from segpipe.stages.naming import slide_id_of

DigitsOf = Callable[[Path], str]
"""Returns the digits that tell a slide from others of its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The slides of a run."""

    slides: tuple[SlideRef, ...]
    """Each once, with an id of its own, in the order given."""
    is_cohort: bool
    """Whether they came from a folder, a manifest, or several arguments."""
    notes: tuple[str, ...] = ()
    """What a person should know about how the inputs were read."""
    empty: tuple[Path, ...] = ()
    """Folders without a slide: an inbox may be, what a person names should not."""

    def refuse_empty(self) -> None:
        """Refuse folders without a slide.

        Raises
        ------
        SlideNotFound
            With the first of them.
        """
        for folder in self.empty:
            message = (
                f"No slide in folder {folder}: no file in it or below it has a suffix "
                "that `segpipe readers` lists. If there are slides, name the files "
                "themselves."
            )
            raise SlideNotFound(message)


def read_inputs(paths: Sequence[Path], known: KnownSlides | None = None) -> Inputs:
    """Turn slides, folders and manifests into the slides of a run.

    The id of a slide is what the manifest says; or what it is called in the result
    folder already; or its file's name made safe. Slides whose ids would be the same get
    the first eight digits of their fingerprint behind it, all that have none yet, so
    that ids don't depend on the order. A path named twice is one slide. Result folders
    of runs that lie in a folder are passed over.

    Parameters
    ----------
    paths
        What was named.
    known
        The slides of the result folder; None takes every slide for a new one.

    Raises
    ------
    SettingsError
        If a manifest won't do, or gives two slides one id.
    SlideNotFound, SlideNotReadable
        If a folder isn't there, or may not be read.
    """
    listed: list[Listed] = []
    notes: list[str] = []
    empty: list[Path] = []
    is_cohort = len(paths) > 1
    for path in paths:
        if path.suffix.lower() == ".csv":
            manifest = read_manifest(path)
            listed += manifest.slides
            is_cohort = True
            if manifest.ignored:
                notes.append(f"{path}: ignored columns {', '.join(manifest.ignored)}.")
        else:
            found = _slides_at(path)
            listed += found
            if not found:
                empty.append(path)
            is_cohort |= [one.slide.path for one in found] != [path]
    slides, told = _with_own_ids(_once(listed), known)
    return Inputs(
        slides=slides,
        is_cohort=is_cohort,
        notes=(*notes, *told),
        empty=tuple(empty),
    )


def _slides_at(path: Path) -> list[Listed]:
    """Return the slide at a path, or those in the folder there.

    Where a slide is missing the others go on. Where an inbox is missing (unmounted,
    misspelt) there are no others.
    """
    is_missing_folder = not path.suffix and not os.path.lexists(path)
    if not path.is_dir() and not is_missing_folder:
        return [_named(path)]
    return [_named(slide) for slide in find_slides(path)]


def _named(path: Path) -> Listed:
    return Listed(slide=SlideRef(id=slide_id_of(path), path=path))


def _once(listed: Iterable[Listed]) -> list[Listed]:
    """Keep one of each path.

    Raises
    ------
    SettingsError
        If the same path is listed with different settings.
    """
    by_path: dict[Path, Listed] = {}
    for one in listed:
        known = by_path.setdefault(one.slide.path.resolve(), one)
        if known.slide.model_copy(update={"path": one.slide.path}) != one.slide:
            message = (
                f"{one.slide.path} is listed twice, and not alike: once as "
                f"{_described(known.slide)}, once as {_described(one.slide)}. Keep one."
            )
            raise SettingsError(message)
    return list(by_path.values())


def _described(slide: SlideRef) -> str:
    return f"{slide.id} (mpp {slide.mpp}, tissue mask {slide.tissue_mask})"


def _with_own_ids(
    listed: Sequence[Listed], known: KnownSlides | None
) -> tuple[tuple[SlideRef, ...], list[str]]:
    """Give each slide an id of its own; return also what a person should know of it.

    Raises
    ------
    SettingsError
        If two slides were given the same id.
    """
    given = _shared(one.slide.id for one in listed if one.id_stays)
    if given:
        paths = [
            str(one.slide.path) for one in listed if one.slide.id.casefold() in given
        ]
        message = (
            f"One slide_id for several slides: {', '.join(sorted(given))} for "
            f"{', '.join(paths[:5])}. Give each its own."
        )
        raise SettingsError(message)
    notes: list[str] = []
    digits_of: DigitsOf = partial(_content_digits, slide_fingerprint)
    if known is not None:
        digits_of = partial(_content_digits, known.fingerprint)
        listed = list(_as_known(listed, known, digits_of, notes))
    by_content = _told_apart(listed, digits_of)
    own = _told_apart(by_content, _path_digits)
    return tuple(one.slide for one in own), notes


def _as_known(
    listed: Sequence[Listed], known: KnownSlides, digits_of: DigitsOf, notes: list[str]
) -> Iterator[Listed]:
    """Call slides what the result folder calls them; note what its ids keep apart."""
    shared = _shared(one.slide.id for one in listed)
    given = {one.slide.id.casefold() for one in listed if one.id_stays}
    for one in listed:
        made, path = one.slide.id, one.slide.path
        if one.id_stays:
            yield one
            continue
        called = known.id_of(path, made)
        if called is None and made.casefold() not in shared:
            called = known.moved_id_of(path, made)
        if called is not None and called.casefold() not in given:
            yield _settled(one, called)
        elif made.casefold() not in shared and known.is_taken(path, made):
            called = f"{made}-{digits_of(path)}"
            notes.append(
                f"{path} is called {called}: {made} is {known.path_of(made)} here."
            )
            yield _settled(one, called)
        else:
            yield one


def _settled(one: Listed, called: str) -> Listed:
    slide = one.slide.model_copy(update={"id": called})
    return replace(one, slide=slide, id_stays=True)


def _told_apart(listed: Sequence[Listed], digits_of: DigitsOf) -> list[Listed]:
    """Put digits behind the ids that occur more than once, but for settled ones."""
    shared = _shared(one.slide.id for one in listed)

    def own(one: Listed) -> Listed:
        if one.id_stays or one.slide.id.casefold() not in shared:
            return one
        chosen = f"{one.slide.id}-{digits_of(one.slide.path)}"
        return replace(one, slide=one.slide.model_copy(update={"id": chosen}))

    return [own(one) for one in listed]


def _shared(ids: Iterable[str]) -> frozenset[str]:
    """Return ids that occur more than once, in lower case: some disks ignore case."""
    counts = Counter(each.casefold() for each in ids)
    return frozenset(each for each, n in counts.items() if n > 1)


def _content_digits(fingerprint: Callable[[Path], str], path: Path) -> str:
    try:
        return fingerprint(path)[:8]
    except SlideError:
        return _path_digits(path)


def _path_digits(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
