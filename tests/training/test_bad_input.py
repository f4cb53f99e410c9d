"""What can't be trained on is refused with its reason, before the first step."""

import hashlib
import pickle
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from segpipe.errors import (
    DatasetError,
    SegpipeError,
    SettingsError,
    UnknownNetwork,
    WeightsError,
)
from segpipe.networks import network
from segpipe.networks._weights import write_weights
from segpipe.training import fit, run
from segpipe.training.checkpoints import save_checkpoint
from segpipe.training.export import annotate_card, export_weights
from segpipe.training.recipe import SetRecipe


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def refused(recipe, tmp_path):
    """Train and return the error, after making sure that no step was taken."""

    def refused_(**fields):
        with pytest.raises(SegpipeError) as raised:
            fit.train(recipe.model_copy(update=fields), tmp_path / "run")
        assert not (tmp_path / "run" / fit.LOG).exists()
        assert not (tmp_path / "run" / fit.CHECKPOINT).exists()
        return raised.value

    return refused_


def overwrite(manifest, name, array):
    cv2.imwrite(str(manifest.parent / name), array)


def test_a_missing_manifest(refused, tmp_path):
    error = refused(manifest=tmp_path / "none.csv")
    assert isinstance(error, DatasetError)
    assert "--manifest names another" in str(error)


def test_a_manifest_that_is_no_text(refused, tmp_path):
    (tmp_path / "m.csv").write_bytes(b"set,id\n\xff\xfe,1\n")
    assert "no CSV of UTF-8 text" in str(refused(manifest=tmp_path / "m.csv"))


def test_a_missing_file(refused, edit_manifest):
    edit_manifest(labels="gone.png")
    error = str(refused())
    assert "1 files that do not exist" in error
    assert "gone.png" in error


def test_labels_of_another_shape(refused, manifest):
    overwrite(manifest, "im1_labels.png", np.zeros((90, 96), np.uint16))
    assert "(90, 96), its image (96, 96)" in str(refused())


def test_ids_beyond_sixteen_bits(refused, manifest):
    ids = np.full((96, 96), 70_000, np.int32)
    cv2.imwrite(str(manifest.parent / "im0_labels.tiff"), ids)
    text = manifest.read_text().replace("im0_labels.png", "im0_labels.tiff")
    manifest.write_text(text)
    assert "ids up to 70000; 65535 is the most" in str(refused())


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_an_empty_image(refused, manifest, content):
    (manifest.parent / "im3.png").write_bytes(content)
    assert "can't be read as a picture, or is empty" in str(refused())


def test_no_nucleus_in_any_image(refused, manifest):
    for index in range(4):
        overwrite(manifest, f"im{index}_labels.png", np.zeros((96, 96), np.uint16))
    error = refused()
    assert isinstance(error, DatasetError)
    assert "None of the 3 training images" in str(error)


def test_a_type_beyond_a_byte_is_not_taken_for_another(refused, manifest):
    overwrite(manifest, "im0_types.png", np.full((96, 96), 257, np.uint16))
    assert "types from 257 to 257" in str(refused())


def test_a_type_the_recipe_does_not_name(refused, manifest):
    overwrite(manifest, "im0_types.png", np.full((96, 96), 3, np.uint8))
    assert "type 3, but the recipe names only 2" in str(refused())


def test_a_type_that_no_image_shows(refused, recipe):
    error = refused(types=(*recipe.types, "rare"))
    assert "No training image shows a nucleus of type rare" in str(error)


def test_classes_for_a_set_without_types(refused, recipe):
    plain = recipe.sets[1].model_copy(update={"classes": (1, 2)})
    error = refused(sets=(recipe.sets[0], plain))
    assert "no types file for any of its 2 training images" in str(error)


def test_a_set_that_is_not_in_the_manifest(refused, recipe):
    lost = SetRecipe(name="lost", weight=1)
    assert "no training image of the set lost" in str(
        refused(sets=(*recipe.sets, lost))
    )


def test_an_image_that_is_held_out_but_not_there(refused, recipe):
    typed = recipe.sets[0].model_copy(update={"held_out": frozenset({"im2", "im-4"})})
    error = refused(sets=(typed, recipe.sets[1]))
    assert isinstance(error, DatasetError)
    assert "holds out 2 images of typed" in str(error)
    assert "has not im-4" in str(error)


def test_an_unknown_network(refused):
    assert isinstance(refused(network="none"), UnknownNetwork)


class Explosive:
    def __reduce__(self):
        return pytest.fail, ("a pickle was run",)


@pytest.mark.parametrize(
    "writer", [torch.save, partial(pickle.dump, protocol=2)], ids=["torch", "pickle"]
)
def test_an_object_where_encoder_weights_are_expected(refused, tmp_path, writer):
    with (tmp_path / "weights.pth").open("wb") as file:
        writer({"a": Explosive()}, file)
    error = refused(encoder_weights=str(tmp_path / "weights.pth"))
    assert isinstance(error, WeightsError)
    assert "objects that can run code when read" in str(error)


def test_an_object_where_weights_to_start_from_are_expected(
    refused, tmp_path, exported
):
    weights = tmp_path / "evil.safetensors"
    weights.write_bytes(pickle.dumps(Explosive()))
    weights.with_suffix(".toml").write_text(exported.with_suffix(".toml").read_text())
    error = refused(starts_from=str(weights))
    assert isinstance(error, WeightsError)
    assert "is a pickle, which can run code when read, and was not read" in str(error)


def test_an_object_where_a_checkpoint_is_expected(recipe, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / fit.CHECKPOINT).write_bytes(pickle.dumps(Explosive()))
    with pytest.raises(WeightsError, match="objects that can run code"):
        fit.train(recipe, tmp_path / "run")
    torch.save({"format": 1, "a": Explosive()}, tmp_path / "run" / fit.CHECKPOINT)
    with pytest.raises(WeightsError, match="objects that can run code"):
        fit.train(recipe, tmp_path / "run")


@pytest.fixture
def exported(recipe, tmp_path):
    """Weights of the recipe's network as it starts."""
    started = run.start(recipe, network("hoverlite"), torch.device("cpu"))
    save_checkpoint(tmp_path / "start.pt", started.state(0, recipe))
    return export_weights(tmp_path / "start.pt", tmp_path / "weights")


def test_weights_that_are_no_numbers(refused, exported):
    state = load_file(exported)
    state["heads.0.bias"][:] = float("nan")
    save_file(state, exported)
    rewrite_hash(exported)
    error = refused(starts_from=str(exported))
    assert isinstance(error, WeightsError)
    assert "heads.0.bias" in str(error)


def rewrite_hash(weights):
    card = weights.with_suffix(".toml")
    lines = [
        f'sha256 = "{hashlib.sha256(weights.read_bytes()).hexdigest()}"'
        if line.startswith("sha256")
        else line
        for line in card.read_text().splitlines()
    ]
    card.write_text("\n".join(lines))


def test_encoder_weights_that_are_no_numbers(refused, tmp_path):
    state = network("hoverlite").build(0).encoder.state_dict()
    state["_bn0.bias"][0] = float("inf")
    torch.save(state, tmp_path / "encoder.pth")
    error = refused(encoder_weights=str(tmp_path / "encoder.pth"))
    assert isinstance(error, WeightsError)
    assert "no finite numbers: encoder._bn0.bias" in str(error)


def test_weights_of_another_network(refused, exported):
    text = exported.with_suffix(".toml").read_text()
    exported.with_suffix(".toml").write_text(
        text.replace('network = "hoverlite"', 'network = "contour"')
    )
    error = refused(starts_from=str(exported))
    assert "are of contour; hoverlite is to be trained" in str(error)


def test_an_encoder_treated_apart_that_is_not_there(refused):
    error = refused(network="hovernet", patch_px=256, freeze_encoder_steps=3)
    assert isinstance(error, SettingsError)
    assert "hovernet has no encoder" in str(error)


def test_untyped_training_may_start_from_typed_weights_and_back(
    recipe, exported, tmp_path
):
    untyped = recipe.model_copy(update={"types": (), "starts_from": str(exported)})
    started = run.start(untyped, network("hoverlite"), torch.device("cpu"))
    sha256 = write_weights(started.module, tmp_path / "plain.safetensors")
    card = annotate_card(exported)
    text = card.to_toml().replace(card.sha256, sha256)
    text = text.replace('["small", "large"]', "[]")
    (tmp_path / "plain.toml").write_text(text)
    back = recipe.model_copy(
        update={"starts_from": str(tmp_path / "plain.safetensors")}
    )
    again = run.start(back, network("hoverlite"), torch.device("cpu"))
    own, other = started.module.state_dict(), again.module.state_dict()
    assert {n for n in other if n not in own} == {"heads.2.weight", "heads.2.bias"}
    assert torch.allclose(own["heads.0.weight"], other["heads.0.weight"], rtol=1e-3)
