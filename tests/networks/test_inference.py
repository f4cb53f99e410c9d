import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from segpipe.errors import MapsInvalid, ShapeMismatch
from segpipe.networks import _inference as inference
from segpipe.networks import load, predict_planes, predict_windows
from segpipe.networks._network import Head, Window


@pytest.fixture(scope="module")
def loaded():
    torch.set_num_threads(1)
    return load("hoverlite")


@pytest.fixture(scope="module")
def windows(loaded):
    side = loaded.network.window.input_px
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (2, 3, side // 8, side // 8), np.uint8)
    return coarse.repeat(8, axis=2).repeat(8, axis=3)


@pytest.fixture(scope="module")
def maps(loaded, windows):
    return predict_windows(loaded, windows)


def test_maps_have_the_shapes_and_types_of_the_heads(loaded, maps):
    side = loaded.network.window.output_px
    assert maps["prob"].shape == (2, side, side)
    assert maps["hv"].shape == (2, 2, side, side)
    assert maps["type"].shape == (2, 4, side, side)
    assert maps["prob"].dtype == maps["type"].dtype == np.uint8
    assert maps["hv"].dtype == np.int8


def test_type_probabilities_add_up(maps):
    assert abs(maps["type"].sum(axis=1, dtype=int) - 255).max() <= 2


def test_results_do_not_depend_on_the_batch(loaded, windows, maps):
    turned = predict_windows(loaded, windows[::-1])
    alone = predict_windows(loaded, windows[1:])
    for name, values in maps.items():
        np.testing.assert_array_equal(turned[name][::-1], values)
        np.testing.assert_array_equal(alone[name][0], values[1])


def test_a_whole_image_is_its_windows_on_the_lattice(loaded):
    side = loaded.network.window.output_px
    margin = loaded.network.window.margin_px
    rng = np.random.default_rng(1)
    planes = rng.integers(0, 256, (3, 70, side + 40), np.uint8)
    whole = predict_planes(loaded, planes)
    beyond = [(0, 0), (margin, margin + side - 70), (0, margin + side - 40)]
    padded = np.pad(planes[:, :, side - margin :], beyond, mode="symmetric")
    second = predict_windows(loaded, padded[None])
    assert whole["prob"].shape == (70, side + 40)
    np.testing.assert_array_equal(
        whole["hv"][:, :, side:], second["hv"][0, :, :70, :40]
    )


def test_windows_of_another_size_are_refused(loaded):
    with pytest.raises(ShapeMismatch, match=r"\(B, 3, 1280, 1280\)"):
        predict_windows(loaded, np.zeros((1, 3, 512, 512), np.uint8))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(("at", "name"), [(0, "prob"), (1, "hv"), (2, "type")])
def test_answers_that_are_no_numbers_are_refused_whatever_the_activation(
    at, name, value
):
    broken = load("hoverlite")
    window = Window(input_px=128, output_px=64)
    broken = replace(broken, network=replace(broken.network, window=window))
    broken.module.heads[at].bias[0] = value
    planes = np.zeros((1, 3, 128, 128), np.uint8)
    with pytest.raises(MapsInvalid, match=f"at 1024 of .* of its map {name}"):
        predict_windows(broken, planes)


def test_no_windows_are_no_maps(loaded):
    side = loaded.network.window.input_px
    maps = predict_windows(loaded, np.zeros((0, 3, side, side), np.uint8))
    assert len(maps["prob"]) == 0


def test_a_batch_that_does_not_fit_the_device_is_halved(loaded, windows, monkeypatch):
    seen = []
    forward = inference._forward

    def small_device(network, planes, read):
        seen.append(len(planes))
        if len(planes) > 1:
            raise torch.cuda.OutOfMemoryError
        return forward(network, planes, read)

    monkeypatch.setattr(inference, "_forward", small_device)
    monkeypatch.setattr(inference, "CPU_BATCH", 2)
    maps = predict_windows(loaded, windows[:1])
    assert seen == [2, 1, 1]
    assert len(maps["prob"]) == 1


def test_what_a_batch_that_did_not_fit_had_on_the_device_is_gone_when_it_is_halved(
    loaded, windows, monkeypatch
):
    failed = []
    forward = inference._forward

    def small_device(network, planes, read):
        if len(planes) > 1:
            on_device = torch.zeros(1)
            failed.append(weakref.ref(on_device))
            raise torch.cuda.OutOfMemoryError
        assert failed[0]() is None
        return forward(network, planes, read)

    monkeypatch.setattr(inference, "_forward", small_device)
    monkeypatch.setattr(inference, "CPU_BATCH", 2)
    predict_windows(loaded, windows[:1])
    assert len(failed) == 1


def test_quantising_covers_the_range_and_rounds_to_the_nearest():
    prob = Head(name="prob", n_channels=1, activation="sigmoid", dtype="uint8")
    hv = Head(name="hv", n_channels=2, activation="clip", dtype="int8")
    values = torch.tensor([0.0, 0.1, 0.5, 1.0]).view(1, 1, 1, 4)
    assert inference.quantise(prob, values).tolist() == [[[0, 26, 128, 255]]]
    both = torch.tensor([[-1.0, 1.0], [0.5, -0.004]]).view(1, 2, 1, 2)
    assert inference.quantise(hv, both).tolist() == [[[[-127, 127]], [[64, -1]]]]
