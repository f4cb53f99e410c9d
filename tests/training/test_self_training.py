"""A teacher's sure nuclei are learned; what it isn't sure of counts for nothing."""

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segpipe.errors import DatasetError, OutputNotOurs, SettingsError, WeightsError
from segpipe.networks import _answers, load, predict_planes
from segpipe.targets import UNTYPED
from segpipe.training import fit, self_training
from segpipe.training.annotated import read_annotated
from segpipe.training.gating import gate
from segpipe.training.patches import draw_scene
from segpipe.training.recipe import SelfTraining
from segpipe.training.self_training import image_files, pseudo_samples
from segpipe.training.stock import load_stock

LABELS = arrays(np.int32, (16, 20), elements=st.integers(0, 3))
PROB = arrays(np.uint8, (16, 20), elements=st.sampled_from([0, 20, 120, 200, 240, 255]))


@given(LABELS, PROB, st.floats(0.5, 0.99))
def test_what_is_not_sure_is_neither_nucleus_nor_background(labels, prob, confidence):
    gated = gate(labels, {"prob": prob}, confidence=confidence)
    for one in np.unique(labels[labels > 0]):
        inside = labels == one
        sure = prob[inside].mean() / 255 >= confidence
        assert (gated.labels[inside] == (one if sure else 0)).all()
        assert (gated.known[inside] == sure).all()
    assert gated.n_found == len(np.unique(labels[labels > 0]))
    assert not gated.labels[labels == 0].any()


def disc(y, x, radius=5):
    rows, columns = np.mgrid[:40, :40]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def test_faint_background_far_from_nuclei_is_not_known():
    labels = np.where(disc(10, 10), 1, 0).astype(np.int32)
    prob = np.where(labels > 0, 255, 0).astype(np.uint8)
    prob[30:35, 30:35] = 120
    known = gate(labels, {"prob": prob}, confidence=0.9).known
    assert not known[30:35, 30:35].any()
    assert known.sum() == known.size - 25


def test_the_rim_of_a_sure_nucleus_is_known_background():
    labels = np.where(disc(20, 20), 1, 0).astype(np.int32)
    prob = np.where(labels > 0, 255, np.where(disc(20, 20, 7), 120, 0)).astype(np.uint8)
    assert gate(labels, {"prob": prob}, confidence=0.9).known.all()


def test_a_nucleus_that_the_mirrored_image_has_not_is_not_sure():
    labels = np.where(disc(10, 10), 1, np.where(disc(30, 30), 2, 0)).astype(np.int32)
    maps = {"prob": np.where(labels > 0, 255, 0).astype(np.uint8)}
    mirrored = np.where(disc(10, 11), 5, 0).astype(np.int32)
    gated = gate(labels, maps, confidence=0.9, agreement=0.7, mirrored=mirrored)
    assert set(np.unique(gated.labels)) == {0, 1}
    assert not gated.known[labels == 2].any()


def test_types_are_kept_where_they_are_sure():
    labels = np.where(disc(10, 10), 4, np.where(disc(30, 30), 9, 0)).astype(np.int32)
    prob = np.where(labels > 0, 255, 0).astype(np.uint8)
    types = np.zeros((2, 40, 40), np.uint8)
    types[1, labels == 4] = 250
    types[0, labels == 9] = 140
    gated = gate(labels, {"prob": prob, "type": types}, confidence=0.9)
    assert set(gated.types[labels == 4]) == {2}
    assert set(gated.types[labels == 9]) == {UNTYPED}
    assert not gated.types[labels == 0].any()


@pytest.fixture
def tiles(tmp_path):
    """Two tissue tiles that nobody annotated, and a file that is no image."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    source = cv2.imread("tests/annotated/09_1.jpg")
    cv2.imwrite(str(folder / "a.png"), source[:192, :192])
    cv2.imwrite(str(folder / "b.png"), source[256:448, 200:392])
    (folder / "notes.txt").write_text("none")
    return folder


@pytest.fixture
def teaching(recipe, tiles):
    section = SelfTraining(images=str(tiles), mpp=0.25, confidence=0.85, weight=3)
    return recipe.model_copy(update={"self_training": section})


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def hoverlite():
    """The teacher, and its predictions, each made once."""
    loaded, predicted = load("hoverlite"), {}

    def predict(_loaded, planes):
        key = planes.tobytes()
        if key not in predicted:
            predicted[key] = predict_planes(loaded, planes)
        return predicted[key]

    return loaded, predict


@pytest.fixture
def _loaded_once(monkeypatch, hoverlite):
    loaded, predict = hoverlite
    monkeypatch.setattr(self_training, "load", lambda *_, **__: loaded)
    monkeypatch.setattr(_answers, "predict_planes", predict)


@pytest.mark.usefixtures("_loaded_once")
def test_pseudo_labels_are_made_once_and_can_be_looked_at(teaching, tmp_path):
    out = tmp_path / "run"
    samples = pseudo_samples(teaching, out)
    with (out / "pseudo" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"].rsplit("-", 1)[0] for row in rows] == ["a", "b"]
    assert all(0 < int(row["n_nuclei"]) < int(row["n_found"]) for row in rows)
    for sample in samples:
        one = read_annotated(sample)
        assert one.labels.shape == one.image.shape[:2] == (192, 192)
        assert one.labels.any()
        assert one.types is None, "the teacher's types are not the recipe's"
        assert 0.3 < one.known.mean() < 1
    made = {p: p.stat().st_mtime_ns for p in (out / "pseudo").rglob("*.png")}
    assert len(made) == 6
    (out / "pseudo" / rows[1]["labels"]).unlink()
    lines = (out / "pseudo" / "manifest.csv").read_text().splitlines(keepends=True)
    (out / "pseudo" / "manifest.csv").write_text("".join(lines[:2]))
    assert pseudo_samples(teaching, out) == samples
    again = {p: p.stat().st_mtime_ns for p in (out / "pseudo").rglob("*.png")}
    assert {p.stem for p in made if again[p] == made[p]} == {rows[0]["id"]}


@pytest.mark.usefixtures("_loaded_once")
def test_images_of_one_name_in_folders_of_one_name_are_kept_apart(
    teaching, tiles, tmp_path
):
    files = [tmp_path / name / "tiles" / "001.png" for name in ("one", "other")]
    for file, tile in zip(files, sorted(tiles.glob("*.png")), strict=True):
        file.parent.mkdir(parents=True)
        file.write_bytes(tile.read_bytes())
    both = asking(teaching, tmp_path / "*/tiles/001.png")
    one, other = map(read_annotated, pseudo_samples(both, tmp_path / "run"))
    assert one.sample.id != other.sample.id
    assert not np.array_equal(one.labels, other.labels)
    alone = pseudo_samples(asking(teaching, files[1]), tmp_path / "alone")[0]
    assert alone.id == other.sample.id
    assert np.array_equal(read_annotated(alone).labels, other.labels)


def asking(teaching, images):
    section = teaching.self_training.model_copy(update={"images": str(images)})
    return teaching.model_copy(update={"self_training": section})


@pytest.mark.usefixtures("_loaded_once")
def test_only_the_images_asked_for_are_learned_in_order_of_their_names(
    teaching, tiles, tmp_path
):
    out = tmp_path / "run"
    last = pseudo_samples(asking(teaching, tiles / "b.png"), out)
    both = pseudo_samples(teaching, out)
    assert [s.image.name for s in both] == ["a.png", "b.png"]
    assert both[1:] == last
    assert pseudo_samples(asking(teaching, tiles / "b.png"), out) == last


@pytest.mark.usefixtures("_loaded_once")
def test_training_sees_pseudo_labels_and_pastes_their_nuclei(teaching, tmp_path):
    aug = replace(
        teaching.augmentation,
        copy_paste=replace(teaching.augmentation.copy_paste, chance=1.0),
    )
    recipe = teaching.model_copy(update={"augmentation": aug, "steps": 1})
    fit.train(recipe, tmp_path / "run")
    samples = pseudo_samples(recipe, tmp_path / "run")
    labelled = fit.select_samples(recipe.manifest, "train", recipe)
    stock = load_stock(recipe, [*labelled, *samples], mpp=0.5)
    assert [round(source.share, 3) for source in stock.sources] == [0.333, 0.167, 0.5]
    assert any(
        nucleus.whole for nuclei in stock.sources[2].nuclei for nucleus in nuclei
    )
    unknown = [
        draw_scene(stock, recipe, np.random.default_rng(seed)).known.mean() < 1
        for seed in range(20)
    ]
    assert 3 < sum(unknown) < 17


@pytest.mark.usefixtures("_loaded_once")
def test_a_teacher_that_is_sure_of_nothing_is_refused(teaching, tmp_path):
    section = teaching.self_training.model_copy(update={"confidence": 0.9999})
    strict = teaching.model_copy(update={"self_training": section})
    with pytest.raises(DatasetError, match=r"sure of none of the \d+ nuclei.*2 images"):
        fit.train(strict, tmp_path / "run")


@pytest.mark.usefixtures("_loaded_once")
def test_pseudo_labels_made_otherwise_are_not_mixed(teaching, tmp_path):
    pseudo_samples(teaching, tmp_path / "run")
    section = teaching.self_training.model_copy(update={"confidence": 0.8})
    other = teaching.model_copy(update={"self_training": section})
    with pytest.raises(OutputNotOurs, match=r"'confidence': 0\.85.*'confidence': 0\.8"):
        pseudo_samples(other, tmp_path / "run")


def test_a_folder_or_a_pattern_names_the_images(tiles, monkeypatch):
    assert [p.name for p in image_files(str(tiles))] == ["a.png", "b.png"]
    assert [p.name for p in image_files(f"{tiles}/b*")] == ["b.png"]
    monkeypatch.chdir(tiles.parent)
    assert [p.name for p in image_files("tiles/*.png")] == ["a.png", "b.png"]
    with pytest.raises(DatasetError, match="finds no image"):
        image_files("tiles/*.tif")


def test_a_teacher_that_is_not_there_is_refused(teaching, tmp_path):
    for teacher, error in [("none", SettingsError), ("a.safetensors", WeightsError)]:
        section = teaching.self_training.model_copy(update={"teacher": teacher})
        with pytest.raises(error, match=teacher):
            pseudo_samples(
                teaching.model_copy(update={"self_training": section}), tmp_path
            )
