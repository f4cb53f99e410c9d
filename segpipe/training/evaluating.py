"""Evaluating on annotated images, at the images' own resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from segpipe.errors import DatasetError, OutputNotWritable
from segpipe.training.annotated import read_annotated
from segpipe.training.comparing import Evaluated, compare
from segpipe.training.finding import Finder
from segpipe.training.gallery import Gallery
from segpipe.training.manifest import Sample
from segpipe.training.results import write_results
from segpipe.training.stock import Progress

_SHOWN_FAULTS = 3


def evaluate(
    finder: Finder,
    samples: Sequence[Sample],
    out: Path,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate on annotated images and write what ``training.results`` names.

    Every image is read and checked before the first is evaluated; one at a time is in
    memory.

    Parameters
    ----------
    finder
        A network, or label maps that another program made.
    samples
        The images, as ``select_samples`` returns them.
    out
        Folder; made if missing.
    progress
        Called with what is done, how many are done, and of how many.

    Returns
    -------
    dict
        What ``metrics.json`` holds: by set, means over images; under ``pooled`` the
        scores of the set's added counts; under ``types`` those of each type.

    Raises
    ------
    DatasetError
        If an image won't do; nothing has been evaluated then.
    OutputNotWritable
        If the folder can't be made; nothing has been evaluated then either.
    """
    check_samples(finder, samples, progress=progress)
    _make(out)
    gallery = Gallery()
    evaluated = list(_evaluate_all(finder, samples, gallery, progress))
    return write_results(out, finder, evaluated, gallery)


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"The folder {out} can't be made: {error.strerror}."
        raise OutputNotWritable(message) from error


def check_samples(
    finder: Finder, samples: Sequence[Sample], *, progress: Progress | None = None
) -> None:
    """Read every image and its annotation, and refuse what can't be evaluated.

    Raises
    ------
    DatasetError
        If there is no image; a file can't be read; shapes differ; an id is too large;
        or a type is unknown to the finder.
    """
    if not samples:
        message = "There is no image to evaluate on."
        raise DatasetError(message)
    faults = []
    for index, sample in enumerate(samples):
        try:
            finder.check(read_annotated(sample))
        except DatasetError as error:
            faults.append(str(error))
        if progress is not None:
            progress("checking", index + 1, len(samples))
    if faults:
        shown = " ".join(faults[:_SHOWN_FAULTS])
        more = " ..." if len(faults) > _SHOWN_FAULTS else ""
        message = (
            f"{len(faults)} of {len(samples)} images can't be evaluated: {shown}{more}"
        )
        raise DatasetError(message)


def _evaluate_all(
    finder: Finder,
    samples: Sequence[Sample],
    gallery: Gallery,
    progress: Progress | None,
) -> Iterator[Evaluated]:
    for index, sample in enumerate(samples):
        annotated = read_annotated(sample)
        found = finder.find(annotated)
        evaluated = compare(
            annotated, found.labels, found.types, scores=found.scores, prob=found.prob
        )
        gallery.add(annotated, found.labels, evaluated)
        yield evaluated
        if progress is not None:
            progress("evaluating", index + 1, len(samples))
