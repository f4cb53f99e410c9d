"""Checkpoints from elsewhere become weights that run, or are refused with a reason."""

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from flows.cli import app
from segpipe.errors import SettingsError, WeightsError
from segpipe.networks import Card, card_of, load, network
from segpipe.training.converting import convert_checkpoint
from segpipe.training.shapes import n_types_of
from segpipe.training.torch_files import read_torch_file, state_of

GOLDEN = Path(__file__).parents[1] / "golden" / "networks"


@pytest.fixture(scope="module")
def donor():
    """A hoverlite of two types with random weights."""
    torch.manual_seed(0)
    return network("hoverlite").build(2).eval()


@pytest.fixture
def state(donor):
    return donor.state_dict()


@pytest.fixture
def save(tmp_path):
    def saved(content, name="theirs.tar", **options):
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return saved


def card(**fields):
    made = {"name": "mine", "network": "hoverlite", "sha256": "", "mpp": 0.5}
    return Card(**{**made, "types": ("round", "long"), **fields})


def official(kind):
    """A state dict of the official names and shapes, in a few bytes: all zeros."""
    keys = json.loads((GOLDEN / f"hovernet_{kind}_keys.json").read_text())
    return {name: torch.zeros(()).expand(shape) for name, shape in keys.items()}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_survive_the_way(donor, save, tmp_path, prefix):
    theirs = {prefix + name: value for name, value in donor.state_dict().items()}
    checkpoint = save({"desc": theirs, "epoch": 3})
    path = convert_checkpoint(checkpoint, tmp_path / "out", card())
    loaded = load(path)
    rgb = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        for ours, expected in zip(loaded.module(rgb), donor(rgb), strict=True):
            torch.testing.assert_close(ours, expected, rtol=0.02, atol=0.02)


def test_the_card_says_where_the_weights_come_from(state, save, tmp_path):
    given = card(licence="CC BY-NC-SA 4.0", data="PanNuke", mpp=0.25)
    written = card_of(convert_checkpoint(save(state), tmp_path / "out", given))
    assert written.types == ("round", "long")
    assert (written.licence, written.data) == (given.licence, given.data)
    assert written.mpp == 0.25
    assert written.recipe.startswith("converted from theirs.tar, sha256 ")


@pytest.mark.parametrize("wrap", [{}, {"state_dict": 0}, {"desc": 0, "epoch": 3}])
def test_a_state_dict_is_found_where_it_is_kept(state, save, wrap):
    content = {name: value or state for name, value in wrap.items()}
    assert state_of(save(content or state)).keys() == state.keys()


def test_files_of_an_older_torch_are_read(state, save):
    checkpoint = save({"desc": state}, _use_new_zipfile_serialization=False)
    assert state_of(checkpoint).keys() == state.keys()


@pytest.mark.parametrize(
    ("kind", "name", "n_types"),
    [
        ("fast_untyped", "hovernet", 0),
        ("fast_typed6", "hovernet", 5),
        ("original_typed6", "hovernet:original", 5),
    ],
)
def test_official_checkpoints_say_how_many_types_they_know(save, kind, name, n_types):
    theirs = {f"module.{key}": value for key, value in official(kind).items()}
    assert n_types_of(name, state_of(save({"desc": theirs}))) == n_types


@pytest.mark.parametrize("name", ["mask_rcnn", "yolactpp"])
@pytest.mark.parametrize("types", [(), ("round",), ("round", "long")])
def test_a_detector_with_types_or_without_is_converted(save, tmp_path, name, types):
    checkpoint = save(network(name).build(len(types)).state_dict())
    named = card(network=name, types=types)
    loaded = load(convert_checkpoint(checkpoint, tmp_path, named))
    assert loaded.card.types == types


def test_types_that_a_detector_has_not_are_refused(save, tmp_path):
    checkpoint = save(network("yolactpp").build(0).state_dict())
    with pytest.raises(SettingsError, match="tells 1 nucleus types apart, but 2 are"):
        convert_checkpoint(checkpoint, tmp_path, card(network="yolactpp"))


def test_the_first_tensor_of_the_network_says_how_many_types_there_are():
    theirs = official("fast_typed6")
    bias = theirs["decoder.tp.u0.conv.bias"].new_zeros(3)
    turned = {"decoder.tp.u0.conv.bias": bias, **theirs}
    turned["decoder.tp.u0.conv.bias"] = bias
    assert n_types_of("hovernet", turned) == 5
    assert n_types_of("hovernet", dict(reversed(turned.items()))) == 5


def test_types_left_unnamed_are_counted(save, tmp_path):
    of_fast = card(network="hovernet")
    checkpoint = save({"desc": official("fast_typed6")})
    with pytest.raises(SettingsError, match="tells 5 nucleus types apart, but 2 are"):
        convert_checkpoint(checkpoint, tmp_path, of_fast)


def test_weights_of_another_network_are_told_whose_they_are(save, tmp_path):
    checkpoint = save({"desc": official("original_untyped")})
    of_fast = card(network="hovernet", types=("named", "in", "vain"))
    with pytest.raises(WeightsError, match=r"30 .*shape.* those of hovernet:original"):
        convert_checkpoint(checkpoint, tmp_path, of_fast)


def test_missing_and_foreign_tensors_are_counted(state, save, tmp_path):
    name = next(iter(state))
    theirs = {"stranger" if n == name else n: v for n, v in state.items()}
    said = "1 tensors missing.*1 tensors foreign, the first stranger.* Nor does it fit"
    with pytest.raises(WeightsError, match=said):
        convert_checkpoint(save(theirs), tmp_path, card())
    assert not list(tmp_path.glob("*.safetensors"))


def test_weights_that_are_no_numbers_are_refused(state, save, tmp_path):
    name = next(n for n, value in state.items() if value.ndim == 4)
    theirs = {**state, name: torch.full_like(state[name], torch.nan)}
    with pytest.raises(WeightsError, match=rf"1 tensors not finite, the first {name}"):
        convert_checkpoint(save(theirs), tmp_path, card())


class _Trap:
    def __reduce__(self):
        message = "a pickle was read"
        return (pytest.fail, (message,))


@pytest.mark.parametrize("write", ["pickle", "torch", "older torch"])
def test_objects_are_refused_unread(save, tmp_path, write):
    if write == "pickle":
        checkpoint = tmp_path / "theirs.tar"
        checkpoint.write_bytes(pickle.dumps({"desc": _Trap()}))
    else:
        checkpoint = save(
            {"desc": {"w": torch.zeros(1)}, "net": _Trap()},
            _use_new_zipfile_serialization=write == "torch",
        )
    with pytest.raises(WeightsError, match="can run code when read, and was not read"):
        state_of(checkpoint)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x80\x02 broken"])
def test_damaged_files_are_refused(tmp_path, content):
    checkpoint = tmp_path / "theirs.tar"
    checkpoint.write_bytes(content)
    with pytest.raises(WeightsError, match=r"theirs\.tar"):
        state_of(checkpoint)


@pytest.mark.parametrize(
    "error", [KeyError("a"), struct.error("b"), EOFError(), AttributeError("c")]
)
def test_whatever_torch_says_of_a_file_it_is_refused(tmp_path, monkeypatch, error):
    def load_(*_, **__):
        raise error

    monkeypatch.setattr(torch, "load", load_)
    with pytest.raises(WeightsError, match=r"a\.pt is damaged.* Fetch it again"):
        read_torch_file(tmp_path / "a.pt")


@pytest.mark.parametrize("cut", [1, 40, 200, 1000, 2000])
@pytest.mark.parametrize("zipped", [True, False])
def test_files_that_were_cut_off_are_refused(state, save, cut, zipped):
    checkpoint = save(state, _use_new_zipfile_serialization=zipped)
    checkpoint.write_bytes(checkpoint.read_bytes()[:cut])
    with pytest.raises(WeightsError, match=r"theirs\.tar"):
        state_of(checkpoint)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3}, "1 of 1 entries, the first 'epoch'"),
        ({"desc": [torch.zeros(1)]}, "holds list, not weights by name"),
        ({}, "not weights by name"),
        (torch.zeros(3), "holds Tensor"),
        ({1: torch.zeros(1)}, "1 of 1 entries, the first 1"),
    ],
)
def test_what_is_no_state_dict_is_refused(save, content, said):
    with pytest.raises(WeightsError, match=said):
        state_of(save(content))


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(WeightsError, match="No such file"):
        state_of(tmp_path / "nosuch.tar")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "../mine"}, "file name"),
        ({"mpp": 0.0}, "micrometres"),
        ({"types": ("a", "a")}, "each its own"),
    ],
)
def test_a_card_that_will_not_do_is_refused(tmp_path, fields, said):
    with pytest.raises(SettingsError, match=said):
        convert_checkpoint(tmp_path / "nosuch.tar", tmp_path, card(**fields))


def test_the_command_prints_the_path_of_weights_that_load(state, save, tmp_path):
    checkpoint = save({"desc": state})
    command = ["convert", checkpoint, "--network", "hoverlite", "--types", "round,long"]
    ended = CliRunner().invoke(app, [*map(str, command), "--out", str(tmp_path)])
    assert ended.exit_code == 0, ended.output
    path = Path(ended.stdout.strip())
    assert path == tmp_path / "theirs.safetensors"
    assert load(path).card.types == ("round", "long")


def test_the_command_ends_with_2_and_one_sentence_when_types_are_unnamed(
    state, save, tmp_path
):
    command = ["convert", save(state), "--network", "hoverlite", "--out", tmp_path]
    ended = CliRunner().invoke(app, [str(part) for part in command])
    assert ended.exit_code == 2
    assert "tells 2 nucleus types apart, but 0 are named" in ended.stderr
    assert ended.stderr.count("\n") == 1
