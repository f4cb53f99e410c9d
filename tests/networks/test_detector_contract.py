"""What every detector promises; they are found, not listed, and one is for tests."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from segpipe.errors import MapsInvalid, SettingsError, ShapeMismatch
from segpipe.geometry import Box
from segpipe.labels.masks import one_piece
from segpipe.networks import (
    Detector,
    Network,
    answer,
    check_mean,
    detect_planes,
    detect_windows,
    load,
    network,
    networks,
    ownership_of,
    predict_windows,
)
from segpipe.networks._flips import TURNS
from segpipe.tiling.grid import TileGrid

FOUND = [one.name for one in networks().values() if isinstance(one, Detector)]
EVERY = pytest.mark.parametrize("name", ["dark_blobs", *FOUND])
PAPERS = pytest.mark.parametrize(
    "name", ["dark_blobs", *(name for name in FOUND if ":" not in name)]
)


@pytest.fixture(scope="module")
def detector(dark_blobs):
    """From name to detector; the one for tests is known meanwhile."""
    assert dark_blobs.exists()
    return network


@pytest.fixture(scope="module")
def loaded(dark_blobs):
    torch.set_num_threads(1)
    return load(dark_blobs)


def fed_px(chosen):
    """Side of a small input it can be fed."""
    side = chosen.window.input_px
    return side - (side - 128) // chosen.step_px * chosen.step_px


def batch_of_targets(chosen, labels, n_types=2):
    types = np.where(labels > 0, labels % n_types + 1, 0).astype(np.uint8)
    made = chosen.targets(labels, types, n_types)
    shown = np.ones(labels.shape, np.float32)
    made = {**made, "valid": shown, "reliable": shown}
    return {name: torch.from_numpy(value)[None] for name, value in made.items()}


@EVERY
def test_a_detector_is_called_by_its_module_and_has_room_for_nuclei(detector, name):
    chosen = detector(name)
    assert chosen.name == name
    assert chosen.paper
    assert chosen.heads(3) == ()
    side, decoding = chosen.window.output_px, chosen.decoding()
    lattice = TileGrid(shape=(side, side), tile_px=side)
    ownership = ownership_of(lattice, chosen.window, decoding)
    assert ownership.max_extent_px * chosen.mpp > 15, "nuclei are up to 15 um"
    for constant, values in chosen.decoding.CHOICES.items():
        for value in values:
            assert getattr(replace(decoding, **{constant: value}), constant) == value


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize(
    ("constant", "value"),
    [("least_score", 1.5), ("double_iou", -0.1), ("vouch_px", -1), ("edge_px", 99)],
)
def test_constants_it_cannot_work_with_are_refused(name, constant, value):
    with pytest.raises(SettingsError, match=rf"{constant} is {value}; the .* takes"):
        network(name).decoding(**{constant: value})


@EVERY
def test_targets_are_the_label_map_and_the_types(detector, name, make_ellipses):
    labels = make_ellipses(1)
    targets = batch_of_targets(detector(name), labels)
    assert np.array_equal(targets["instances"][0, 0], labels)
    assert targets["instances"].dtype == torch.int32
    assert targets["type"].shape == (1, 1, *labels.shape)
    assert targets["type"].dtype == torch.uint8
    assert "type" not in detector(name).targets(labels, None, 0)


@PAPERS
def test_it_says_the_same_in_any_batch_and_learns(detector, name, make_ellipses):
    torch.manual_seed(0)
    chosen = detector(name)
    side = fed_px(chosen)
    module = chosen.build(2).eval()
    rgb = torch.rand(2, 3, side, side) * 255
    with torch.inference_mode():
        outputs = module(rgb)
        both = chosen.detect(module, outputs, chosen.decoding())
        for at in (0, 1):
            own = tuple(raw[at : at + 1] for raw in outputs)
            alone = chosen.detect(module, own, chosen.decoding())[0]
            assert np.array_equal(alone.boxes, both[at].boxes)
            assert np.array_equal(alone.bits, both[at].bits)
    for said in both:
        assert np.all(np.diff(said.scores.astype(int)) <= 0), "best first"
        assert np.all(said.boxes >= 0)
        assert np.all(said.boxes <= side)
        assert np.all(said.types <= 2)
        assert np.array_equal(one_piece(said)[1], np.arange(len(said))), "not empty"
    outputs = module.train()(rgb[:1])
    labels = make_ellipses(2, side=side, n=8)
    for shown in (labels, np.zeros_like(labels)):
        targets = batch_of_targets(chosen, shown)
        terms = chosen.loss_terms(module, outputs, targets)
        sum(terms.values()).backward(retain_graph=True)
        assert all(torch.isfinite(term) for term in terms.values())
    for weight_name, weight in module.named_parameters():
        assert weight.grad is None or torch.isfinite(weight.grad).all(), weight_name


@EVERY
def test_outputs_are_dense_and_the_same_in_training_and_evaluation(detector, name):
    chosen = detector(name)
    side = fed_px(chosen)
    with torch.device("meta"):
        module = chosen.build(2)
        rgb = torch.empty(2, 3, side, side + chosen.step_px)
        evaluated, trained = (
            [raw.shape for raw in module.train(mode=training)(rgb)]
            for training in (False, True)
        )
    assert evaluated == trained
    assert all(shape[0] == 2 for shape in trained)


@PAPERS
def test_steps_on_one_batch_lower_its_loss(detector, name, make_ellipses):
    chosen = detector(name)
    torch.manual_seed(0)
    side = fed_px(chosen)
    labels = make_ellipses(2, side=side, n=30)
    targets = batch_of_targets(chosen, labels)
    dark = torch.from_numpy(np.where(labels > 0, 80.0, 220.0)).float()
    rgb = dark.expand(1, 3, side, side)
    module = chosen.build(2).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    totals = []
    for _ in range(5):
        torch.manual_seed(1)
        terms = chosen.loss_terms(module, module(rgb), targets)
        totals.append(sum(terms.values()))
        optimizer.zero_grad()
        totals[-1].backward()
        optimizer.step()
    totals = [float(total.detach()) for total in totals]
    assert totals[-1] < 0.95 * totals[0]


@pytest.fixture(scope="module")
def planes():
    rng = np.random.default_rng(0)
    coarse = rng.integers(90, 256, (3, 70, 50), np.uint8)
    return coarse.repeat(6, axis=1).repeat(6, axis=2)


def test_an_image_has_disjoint_scored_instances_in_raster_order(loaded, planes):
    found = detect_planes(loaded, planes, loaded.decoding)
    assert len(found.types) == found.labels.max() > 20
    first = np.unique(found.labels[found.labels > 0], return_index=True)[1]
    assert np.all(np.diff(first) > 0)


def test_painted_maps_say_what_the_detector_said(loaded, planes):
    found = detect_planes(loaded, planes, loaded.decoding)
    decoded = answer(loaded, planes).decode(loaded.decoding)
    inside = decoded.labels > 0
    at = decoded.labels[inside] - 1
    assert np.array_equal(decoded.labels, found.labels)
    assert np.array_equal(decoded.maps["prob"], found.prob)
    assert np.array_equal(found.prob > 0, inside)
    pairs = np.unique([decoded.labels[inside], found.prob[inside]], axis=1)
    assert pairs.shape[1] == len(found.types), "an instance has one score"
    typed = decoded.maps["type"]
    assert np.array_equal(typed.max(axis=0), decoded.maps["prob"])
    assert np.array_equal(typed.argmax(axis=0)[inside] + 1, found.types[at])


def test_a_turned_image_is_turned_back(loaded, planes):
    """The detector for tests sees no direction, so on one window nothing changes."""
    square = np.ascontiguousarray(planes[:, :192, :192])
    upright = answer(loaded, square).decode(loaded.decoding)
    for turn in TURNS[1:]:
        turned = answer(loaded, square, turn).decode(loaded.decoding)
        differ = (turned.labels > 0) != (upright.labels > 0)
        assert differ.mean() < 0.02
        assert turned.maps["prob"].shape == upright.maps["prob"].shape


def test_windows_are_refused_that_it_does_not_take(loaded):
    with pytest.raises(ShapeMismatch, match=r"\(B, 3, 256, 256\)"):
        detect_windows(loaded, np.zeros((1, 3, 128, 128), np.uint8), loaded.decoding)


def test_a_detector_has_no_maps_and_no_mean_and_a_network_no_masks(loaded):
    window = np.zeros((1, 3, 256, 256), np.uint8)
    with pytest.raises(SettingsError, match="gives scored masks, not maps"):
        predict_windows(loaded, window)
    with pytest.raises(SettingsError, match="no mean as maps have"):
        check_mean(loaded)
    dense = load("hoverlite")
    assert isinstance(dense.network, Network)
    with pytest.raises(SettingsError, match="gives maps, not scored masks"):
        detect_windows(dense, window, dense.decoding)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_outputs_that_are_no_numbers_are_refused(dark_blobs, value):
    broken = load(dark_blobs)
    with torch.no_grad():
        broken.module.blur.bias.fill_(value)
    window = np.zeros((1, 3, 256, 256), np.uint8)
    with pytest.raises(MapsInvalid, match="65536 of 65536 places of its output"):
        detect_windows(broken, window, broken.decoding)


def test_no_windows_are_no_detections(loaded):
    none = np.zeros((0, 3, 256, 256), np.uint8)
    assert detect_windows(loaded, none, loaded.decoding) == []


def test_what_lies_beyond_an_image_is_no_nucleus(loaded):
    """A dark disc at the corner is seen whole, with its mirror images."""
    planes = np.full((3, 60, 60), 220, np.uint8)
    y, x = np.mgrid[:60, :60]
    planes[:, y**2 + x**2 <= 100] = 40
    found = detect_planes(loaded, planes, loaded.decoding)
    assert found.labels.max() == 1
    assert Box.of_shape(found.labels.shape) == Box(0, 0, 60, 60)
    assert found.labels[0, 0] == 1
