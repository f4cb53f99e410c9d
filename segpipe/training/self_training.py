"""Self-training: a teacher annotates images once, and the run learns from them too.

The pseudo-labels lie under the run's folder as pictures with a manifest, as any other
annotated set, to be looked at: ``pseudo/manifest.csv``, ``labels/``, ``types/``,
``known/``. Each image's row is written last, so what has one is whole.
"""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from segpipe.arrays import to_planes
from segpipe.errors import DatasetError, OutputNotOurs, SettingsError
from segpipe.networks import PROB_HEAD, LoadedNetwork, answer, load
from segpipe.networks._flips import TURNS
from segpipe.stores.durable import replacing, write_text
from segpipe.training.annotated import AS_STORED, MAX_ID, Annotated, at_mpp
from segpipe.training.comparing import to_shape
from segpipe.training.gating import Gated, gate
from segpipe.training.manifest import Sample, read_manifest
from segpipe.training.recipe import PSEUDO, Recipe, SelfTraining
from segpipe.training.stock import Progress

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
"""Files of a folder that count as images."""
MANIFEST = "manifest.csv"
TEACHER = "teacher.json"


def pseudo_samples(
    recipe: Recipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> tuple[Sample, ...]:
    """Return a recipe's pseudo-labelled images; none if it has no self-training.

    What an earlier call made under ``out`` of these images is kept. The manifest there
    lists the images asked for, by name, and no others.

    Parameters
    ----------
    recipe
        Says which images, which teacher, how sure.
    out
        Folder of the run.
    device
        Where the teacher runs.
    progress
        Called for each image.

    Raises
    ------
    DatasetError
        If there is no image, one can't be read, or no nucleus is sure enough.
    SettingsError
        If the teacher has no probability map.
    WeightsError, UnknownNetwork
        If there is no such teacher.
    OutputNotOurs
        If pseudo-labels by another teacher lie there.
    """
    section = recipe.self_training
    if section is None:
        return ()
    files = image_files(section.images)
    teacher = load(_teacher(section.teacher), device=device)
    _check_teacher(teacher)
    folder = out / PSEUDO
    folder.mkdir(parents=True, exist_ok=True)
    _sign(folder / TEACHER, teacher, section)
    made = {row["image"]: row for row in _rows(folder / MANIFEST)}
    rows = {str(file): made[str(file)] for file in files if str(file) in made}
    for index, file in enumerate(files):
        if str(file) not in rows:
            rows[str(file)] = _annotate(file, folder, teacher, section)
            _write_rows(folder / MANIFEST, list(rows.values()))
        if progress is not None:
            progress("annotating by the teacher", index + 1, len(files))
    if list(made) != list(map(str, files)):
        _write_rows(folder / MANIFEST, [rows[str(file)] for file in files])
    _check_sure(list(rows.values()), section)
    typed = teacher.card.types == recipe.types
    return tuple(
        replace(s, classes=None if typed else ())
        for s in read_manifest(folder / MANIFEST)
    )


def image_files(images: str) -> tuple[Path, ...]:
    """Return the image files of a folder or a pattern, by name.

    Raises
    ------
    DatasetError
        If there is none.
    """
    folder = Path(images)
    if folder.is_dir():
        found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES]
    else:
        anchor = Path(folder.anchor) if folder.is_absolute() else Path()
        found = list(anchor.glob(str(folder.relative_to(anchor))))
    files = tuple(sorted(p.absolute() for p in found if p.is_file()))
    if not files:
        message = (
            f"Self-training finds no image by {images!r}. Name a folder with "
            f"{', '.join(SUFFIXES)}, or a pattern such as tiles/*.png."
        )
        raise DatasetError(message)
    return files


def _teacher(name: str) -> str | Path:
    path = Path(name)
    return path if path.suffix == ".safetensors" else name


def _check_teacher(teacher: LoadedNetwork) -> None:
    names = teacher.network.map_names(teacher.n_types)
    if PROB_HEAD not in names:
        message = (
            f"{teacher.network.name} can't be a teacher: of its maps "
            f"({', '.join(names)}) none is the foreground probability {PROB_HEAD!r}."
        )
        raise SettingsError(message)


def _sign(path: Path, teacher: LoadedNetwork, section: SelfTraining) -> None:
    """Write by whom and how the pseudo-labels are made, or compare with what is there.

    What only matters later may differ.
    """
    own = {
        "teacher_sha256": teacher.card.sha256,
        **section.model_dump(exclude={"weight", "images", "teacher"}),
    }
    if not path.exists():
        write_text(path, json.dumps(own, indent=1) + "\n")
        return
    there = json.loads(path.read_text(encoding="utf-8"))
    if there != own:
        message = (
            f"{path.parent} holds pseudo-labels made by {there}, not by {own}. "
            "Train into another folder, or remove this one."
        )
        raise OutputNotOurs(message)


def _id(file: Path) -> str:
    """Return a file's stem and eight digits that only its path has.

    So no image's pictures are ever in the place of another's, whatever is asked for.
    """
    return f"{file.stem}-{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"


def _annotate(
    file: Path, folder: Path, teacher: LoadedNetwork, section: SelfTraining
) -> dict[str, Any]:
    """Annotate an image, write its pictures and return its row."""
    name = _id(file)
    rgb = cv2.imread(str(file), AS_STORED)
    if rgb is None:
        message = f"{file} can't be read as a picture, or is empty."
        raise DatasetError(message)
    gated = _gated(np.asarray(rgb, np.uint8), teacher, section)
    if gated.labels.max() > MAX_ID:
        message = f"{file} has more than {MAX_ID} nuclei; cut it into tiles."
        raise DatasetError(message)
    planes: dict[str, NDArray[Any]] = {
        "labels": gated.labels.astype(np.uint16),
        "types": gated.types,
        "known": gated.known.astype(np.uint8) * 255,
    }
    shape = rgb.shape[:2]
    for kind, plane in planes.items():
        _write_png(folder / kind / f"{name}.png", to_shape(plane, shape))
    return {
        "set": PSEUDO,
        "id": name,
        "split": "train",
        "image": str(file),
        **{kind: f"{kind}/{name}.png" for kind in planes},
        "mpp": section.mpp,
        "instances": "exact",
        "n_nuclei": len(np.unique(gated.labels[gated.labels > 0])),
        "n_found": gated.n_found,
    }


def _gated(
    rgb: NDArray[np.uint8], teacher: LoadedNetwork, section: SelfTraining
) -> Gated:
    """Return the pseudo-labels of an image at the teacher's resolution."""
    planes = to_planes(_at_teacher(rgb, teacher, section.mpp))
    found = answer(teacher, planes).decode(teacher.decoding)
    again = answer(teacher, planes, TURNS[1]) if section.agreement > 0 else None
    return gate(
        found.labels,
        found.maps,
        confidence=section.confidence,
        agreement=section.agreement,
        mirrored=None if again is None else again.decode(teacher.decoding).labels,
    )


def _at_teacher(
    rgb: NDArray[np.uint8], teacher: LoadedNetwork, mpp: float
) -> NDArray[np.uint8]:
    none = np.zeros(rgb.shape[:2], np.int32)
    sample = Sample(set=PSEUDO, id="", split="", image=Path(), labels=Path(), mpp=mpp)
    image = Annotated(
        sample=sample, image=rgb, labels=none, types=None, reliable=none == 0
    )
    return at_mpp(image, teacher.card.mpp).image


def _check_sure(rows: list[dict[str, Any]], section: SelfTraining) -> None:
    if any(int(row["n_nuclei"]) for row in rows):
        return
    n_found = sum(int(row["n_found"]) for row in rows)
    message = (
        f"The teacher {section.teacher} is sure of none of the {n_found} nuclei it "
        f"finds in {len(rows)} images: confidence {section.confidence}, agreement "
        f"{section.agreement}. Lower them, check mpp {section.mpp}, or leave "
        "self-training out."
    )
    raise DatasetError(message)


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _write_png(path: Path, plane: NDArray[Any]) -> None:
    with replacing(path) as part:
        part.write_bytes(cv2.imencode(".png", plane)[1].tobytes())
