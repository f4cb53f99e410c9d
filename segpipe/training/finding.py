"""Who finds the nuclei that are evaluated: a network, or label maps made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, ProbMap, TypeMap, to_planes
from segpipe.errors import DatasetError, SettingsError
from segpipe.metrics.overlap import Floats
from segpipe.networks import (
    PROB_HEAD,
    TYPE_HEAD,
    Answer,
    LoadedNetwork,
    answer,
    check_mean,
    mean_answer,
)
from segpipe.training.annotated import Annotated, at_mpp
from segpipe.training.comparing import check_types, mean_prob
from segpipe.training.manifest import Sample

SUFFIXES = (".png", ".npy", ".tif", ".tiff")
"""Files that label maps made elsewhere may be."""
TEST_TIME = ("none", "flips")
"""What may be done to an image at test time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found in an image, all of one height and width."""

    labels: LabelMap
    types: TypeMap | None = None
    scores: Floats | None = None
    """(N,) how sure each instance is, by ascending id."""
    prob: ProbMap | None = None


class Finder(Protocol):
    """Finds the nuclei of annotated images."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def types(self) -> tuple[str, ...]:
        """Names of the nucleus types it tells apart."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What it is, for people."""

    def check(self, annotated: Annotated) -> None:
        """Refuse an image it can't be compared on, before anything long begins."""

    def find(self, annotated: Annotated) -> Found:
        """Find the nuclei of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFinder:
    """A loaded network."""

    loaded: LoadedNetwork
    test_time: str = "none"
    """One of ``TEST_TIME``; ``"flips"`` takes the mean over eight orientations."""

    def __post_init__(self) -> None:
        if self.test_time not in TEST_TIME:
            message = f"Test time knows {TEST_TIME}, not {self.test_time!r}."
            raise SettingsError(message)
        if self.test_time == "flips":
            check_mean(self.loaded)

    @property
    def name(self) -> str:
        """Name of the weights."""
        return self.loaded.card.name

    @property
    def types(self) -> tuple[str, ...]:
        """Names of the network's types."""
        return self.loaded.card.types

    @property
    def facts(self) -> Mapping[str, str]:
        """Weights, resolution and the decoder's constants."""
        constants = asdict(self.loaded.decoding)
        return {
            "network": self.loaded.network.name,
            "weights": self.loaded.card.name,
            "weights_sha256": self.loaded.card.sha256,
            "network_mpp": f"{self.loaded.card.mpp:g}",
            "decoding": ", ".join(f"{name} = {v:g}" for name, v in constants.items()),
            "test_time": self.test_time,
        }

    def check(self, annotated: Annotated) -> None:
        """Refuse types the network doesn't know."""
        check_types(annotated, len(self.types))

    def find(self, annotated: Annotated) -> Found:
        """Predict and decode at the network's resolution."""
        said = answer_image(self.loaded, annotated, test_time=self.test_time)
        decoded = said.decode(self.loaded.decoding)
        prob = decoded.maps[PROB_HEAD]
        return Found(
            labels=decoded.labels,
            types=decoded.maps.get(TYPE_HEAD),
            scores=mean_prob(decoded.labels, prob),
            prob=prob,
        )


def answer_image(
    loaded: LoadedNetwork, annotated: Annotated, *, test_time: str = "none"
) -> Answer:
    """Ask a network about an image, resampled to the network's resolution."""
    planes = to_planes(at_mpp(annotated, loaded.card.mpp).image)
    ask = mean_answer if test_time == "flips" else answer
    return ask(loaded, planes)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMapFinder:
    """Label maps that another program made, a file for each image."""

    folder: Path
    files: Mapping[tuple[str, str], Path]
    """By set and id."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def types(self) -> tuple[str, ...]:
        """None: label maps say nothing of types."""
        return ()

    @property
    def facts(self) -> Mapping[str, str]:
        """Where they are."""
        return {"label_maps": str(self.folder)}

    def check(self, annotated: Annotated) -> None:
        """Refuse files that are no label maps of the image."""
        self.find(annotated)

    def find(self, annotated: Annotated) -> Found:
        """Read the label map of an image."""
        path = self.files[annotated.sample.set, annotated.sample.id]
        labels = _read(path)
        if labels.shape != annotated.labels.shape:
            message = f"{path} is {labels.shape}, its image {annotated.labels.shape}."
            raise DatasetError(message)
        return Found(labels=labels)


def label_maps(folder: Path, samples: Sequence[Sample]) -> LabelMapFinder:
    """Find the label map of each image: ``<id>`` or ``<set>/<id>``, PNG, NPY or TIFF.

    Raises
    ------
    DatasetError
        If there is none for an image, or one file would serve two.
    """
    found = {(s.set, s.id): next(_candidates(folder, s), None) for s in samples}
    missing = [key for key, path in found.items() if path is None]
    if missing:
        message = (
            f"{folder} has no label map for {len(missing)} of {len(found)} images; the "
            f"first is {missing[0][1]} of {missing[0][0]}: neither {missing[0][1]} nor "
            f"{missing[0][0]}/{missing[0][1]} with {', '.join(SUFFIXES)}."
        )
        raise DatasetError(message)
    files = {key: path for key, path in found.items() if path is not None}
    if len(set(files.values())) < len(files):
        message = (
            f"{folder} has {len(set(files.values()))} label maps for {len(files)} "
            "images: sets share ids. Put each set into a folder of its name."
        )
        raise DatasetError(message)
    return LabelMapFinder(folder=folder, files=files)


def _candidates(folder: Path, sample: Sample) -> Iterator[Path]:
    stems = (folder / sample.set / sample.id, folder / sample.id)
    paths = (stem.with_name(stem.name + end) for stem in stems for end in SUFFIXES)
    return (path for path in paths if path.is_file())


def _read(path: Path) -> LabelMap:
    labels: NDArray[Any] | None
    if path.suffix == ".npy":
        labels = _read_npy(path)
    else:
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.ndim != 2 or labels.dtype.kind not in "iub":
        kind = "unreadable" if labels is None else f"{labels.dtype} {labels.shape}"
        message = f"{path} is {kind}, not one plane of whole ids."
        raise DatasetError(message)
    largest = np.iinfo(np.int32).max
    if labels.size and (labels.min() < 0 or labels.max() > largest):
        message = f"{path} has ids from {labels.min()} to {labels.max()}."
        raise DatasetError(message)
    return labels.astype(np.int32)


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        message = f"{path} can't be read as an array: {error}"
        raise DatasetError(message) from error
