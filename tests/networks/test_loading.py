import errno
import hashlib
import os
import pickle

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from segpipe.errors import UnknownNetwork, WeightsError
from segpipe.networks import Card, cached_network, card_of, load, network, weights_file
from segpipe.networks import _loading as loading
from segpipe.networks._weights import read_weights, write_weights


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Weights of a random typed hoverlite with their card."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    sha256 = write_weights(network("hoverlite").build(2), path)
    card = Card(
        name="mine",
        network="hoverlite",
        sha256=sha256,
        mpp=0.5,
        types=("round", "long"),
        decoding={"foreground": 0.4},
        scores={"a set": {"pq": 0.5, "n_images": 3}},
    )
    path.with_suffix(".toml").write_text(card.to_toml())
    return path


@pytest.fixture
def weights(original, tmp_path):
    """A copy that a test may spoil."""
    for suffix in (".safetensors", ".toml"):
        copy = tmp_path / f"mine{suffix}"
        copy.write_bytes(original.with_suffix(suffix).read_bytes())
    return tmp_path / "mine.safetensors"


def spoil(weights, change):
    """Change the tensors and let the card agree, so only the content is wrong."""
    state = load_file(weights)
    change(state)
    save_file(state, weights)
    card = weights.with_suffix(".toml")
    old = card_of(weights).sha256
    new = hashlib.sha256(weights.read_bytes()).hexdigest()
    card.write_text(card.read_text().replace(old, new))


def test_a_card_survives_writing_and_reading(weights):
    card = Card(
        name='a "quoted" näme',
        network="hoverlite",
        sha256="0" * 64,
        mpp=0.25,
        types=("a", "b"),
        data="two\nlines",
        decoding={"reach_px": 9, "foreground": 0.5},
        scores={"x-1 y": {"pq": 0.25}},
    )
    weights.with_suffix(".toml").write_text(card.to_toml(), encoding="utf-8")
    assert card_of(weights) == card


PLAIN = {"name": '"mine"', "network": '"hoverlite"', "sha256": '"0aF"', "mpp": "1"}
NUMBER = "a finite number"


def lay(folder, **values):
    """Lay a card of few fields, given as TOML; return the weights it is of."""
    lines = [f"{field} = {value}\n" for field, value in {**PLAIN, **values}.items()]
    (folder / "mine.toml").write_text("".join(lines))
    return folder / "mine.safetensors"


def test_a_card_needs_four_fields(tmp_path):
    expected = Card(name="mine", network="hoverlite", sha256="0aF", mpp=1)
    assert card_of(lay(tmp_path)) == expected


@pytest.mark.parametrize(
    ("field", "value", "place", "wanted"),
    [
        *(
            ("mpp", value, "mpp", f"{NUMBER} above 0")
            for value in ('"0.5"', "-1", "0", "nan", "inf", "true", "1" + 400 * "0")
        ),
        ("types", '"abc"', "types", "a list of names"),
        ("types", '["a", 1]', "types", "a list of names"),
        ("sha256", "3", "sha256", "text of hexadecimal digits"),
        ("sha256", '"0x3"', "sha256", "text of hexadecimal digits"),
        ("sha256", '""', "sha256", "text of hexadecimal digits"),
        *((name, "2", name, "text") for name in ("name", "licence", "data", "recipe")),
        ("network", "[]", "network", "text"),
        ("decoding", "3", "decoding", "a table"),
        ("decoding", '{ least = "0.4" }', "decoding.least", NUMBER),
        ("decoding", "{ least = -inf }", "decoding.least", NUMBER),
        ("scores", '["a"]', "scores", "a table"),
        ("scores", "{ a = 3 }", "scores.a", "a table"),
        ("scores", "{ a = { pq = nan } }", "scores.a.pq", NUMBER),
        ("scores", "{ a = { pq = false } }", "scores.a.pq", NUMBER),
    ],
)
def test_a_value_of_a_card_that_will_not_do_is_named_with_what_is_wanted(
    tmp_path, field, value, place, wanted
):
    with pytest.raises(
        WeightsError, match=rf"mine\.toml has {place} = .*; it must be {wanted}\."
    ):
        card_of(lay(tmp_path, **{field: value}))


def test_a_number_of_thousands_of_digits_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="is not TOML"):
        card_of(lay(tmp_path, mpp=5000 * "9"))


def test_a_card_that_could_not_be_read_is_not_written():
    card = Card(
        name="mine",
        network="hoverlite",
        sha256="0a",
        mpp=0.5,
        scores={"a": {"pq": float("nan")}},
    )
    with pytest.raises(WeightsError, match=r"card of mine has scores\.a\.pq = nan"):
        card.to_toml()


def test_weights_that_can_not_be_written_leave_those_there_were(weights, monkeypatch):
    before = weights.read_bytes()

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_weights(torch.nn.Conv2d(1, 1, 1), weights)
    assert weights.read_bytes() == before
    left = {path.name for path in weights.parent.iterdir()}
    assert left == {"mine.safetensors", "mine.toml"}


def test_loading_gives_a_network_ready_to_predict(weights):
    loaded = load(weights)
    assert loaded.network is network("hoverlite")
    assert [head.name for head in loaded.heads] == ["prob", "hv", "type"]
    assert loaded.heads[2].n_channels == 2
    assert loaded.decoding == network("hoverlite").decoding(foreground=0.4)
    assert not loaded.module.training
    assert not any(p.requires_grad for p in loaded.module.parameters())


def test_weights_are_small_on_disk(weights):
    assert weights.stat().st_size < 8e6


def test_half_precision_on_disk_changes_weights_by_half_a_step_at_most(tmp_path):
    module = network("hoverlite").build(0)
    path = tmp_path / "w.safetensors"
    write_weights(module, path)
    for name, value in load_file(path).items():
        torch.testing.assert_close(
            value.float(), module.state_dict()[name], rtol=2**-10, atol=1e-7
        )


def test_an_unknown_name_lists_the_networks():
    with pytest.raises(UnknownNetwork, match="hoverlite"):
        load("hoverheavy")


def test_a_network_without_shipped_weights_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "WEIGHTS", tmp_path)
    with pytest.raises(WeightsError, match="No weights ship for the network hoverlite"):
        weights_file("hoverlite")


def test_shipped_weights_load_and_name_their_types():
    loaded = load("hoverlite")
    assert loaded.card.types == ("other", "inflammatory", "epithelial", "spindle")
    assert loaded.card.mpp == 0.25
    assert loaded.card.licence


def test_another_file_than_the_card_describes_is_refused(weights):
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(WeightsError, match=f"expected .*found {found}"):
        load(weights)


def test_a_truncated_file_is_refused_even_if_the_card_agrees(weights):
    weights.write_bytes(weights.read_bytes()[:1000])
    card = weights.with_suffix(".toml")
    new = hashlib.sha256(weights.read_bytes()).hexdigest()
    card.write_text(card.read_text().replace(card_of(weights).sha256, new))
    with pytest.raises(WeightsError, match="damaged"):
        load(weights)


@pytest.mark.parametrize("start", [b"\x80", b"PK"])
def test_weights_whose_length_of_header_looks_like_a_pickle_are_read(tmp_path, start):
    path, wanted = tmp_path / "w.safetensors", torch.ones(3)
    near = int.from_bytes(start, "little")
    for n in range(max(0, near - 200), near + 200):
        content = save({"w": wanted}, metadata={"pad": "x" * n})
        if content.startswith(start):
            break
    assert content.startswith(start)
    path.write_bytes(content)
    state = read_weights(path, hashlib.sha256(content).hexdigest())
    assert torch.equal(state["w"], wanted)


class _Trap:
    def __reduce__(self):
        message = "a pickle was read"
        return (pytest.fail, (message,))


@pytest.mark.parametrize("write", ["pickle", "torch"])
def test_a_pickle_is_refused_unread(weights, write):
    if write == "pickle":
        weights.write_bytes(pickle.dumps(_Trap()))
    else:
        torch.save({"w": torch.zeros(1), "trap": _Trap()}, weights)
    with pytest.raises(WeightsError, match="is a pickle"):
        load(weights)


def test_weights_that_are_no_numbers_are_refused(weights):
    def change(state):
        state["top.0.0.weight"][0, 0, 0, 0] = float("nan")

    spoil(weights, change)
    with pytest.raises(WeightsError, match=r"1 tensors not finite.*top\.0\.0\.weight"):
        load(weights)


def test_foreign_and_missing_names_are_refused(weights):
    def change(state):
        state["stranger"] = state.pop("top.0.0.weight")

    spoil(weights, change)
    with pytest.raises(
        WeightsError, match=r"1 tensors missing.*1 tensors foreign.*stranger"
    ):
        load(weights)


def test_weights_for_other_types_are_refused(weights):
    card = weights.with_suffix(".toml")
    card.write_text(card.read_text().replace('"long"', '"long", "third"'))
    with pytest.raises(WeightsError, match="of another shape"):
        load(weights)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("network =", "netwerk =", "netwerk"),
        ("name =", "name", "not TOML"),
        ("foreground", "background", "that don't exist: background. hoverlite has fo"),
        ("= 0.4", "= 40", "mine.safetensors .* foreground is 40; the HV decoder takes"),
        ("= 0.4", '= "0.4"', r"mine.toml has decoding\.foreground = '0.4'; it must"),
        ('"hoverlite"', '"hoverheavy"', "hoverheavy"),
    ],
)
def test_a_wrong_card_is_refused(weights, old, new, reason):
    card = weights.with_suffix(".toml")
    card.write_text(card.read_text().replace(old, new, 1))
    with pytest.raises((WeightsError, UnknownNetwork), match=reason):
        load(weights)


def test_weights_without_a_card_are_refused(weights):
    weights.with_suffix(".toml").unlink()
    with pytest.raises(WeightsError, match="need a card beside them"):
        load(weights)


def test_missing_weights_are_refused(weights):
    weights.unlink()
    with pytest.raises(WeightsError, match="No weights can be read"):
        load(weights)


def test_a_worker_loads_once(weights):
    sha256 = card_of(weights).sha256
    cached_network.cache_clear()
    first = cached_network(str(weights), sha256, "cpu")
    assert cached_network(str(weights), sha256, "cpu") is first


def test_weights_that_changed_after_planning_are_refused(weights):
    cached_network.cache_clear()
    with pytest.raises(WeightsError, match="has changed since the plan"):
        cached_network(str(weights), "0" * 64, "cpu")
