import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from segpipe.errors import DatasetError
from segpipe.networks import load
from segpipe.networks._inference import quantise
from segpipe.training.annotated import at_mpp, read_annotated
from segpipe.training.calibrate import calibrate
from segpipe.training.evaluating import compare, evaluate, predict_image
from segpipe.training.selecting import select_samples


@pytest.fixture(scope="module")
def loaded():
    torch.set_num_threads(1)
    return load("hoverlite")


@pytest.fixture
def annotated(manifest, recipe):
    return read_annotated(select_samples(manifest, "train", recipe)[0])


def type_map(annotated, n_types=2):
    planes = annotated.types == np.arange(1, n_types + 1)[:, None, None]
    return planes.astype(np.uint8) * 255


def test_the_truth_scores_perfectly(annotated):
    result = compare(annotated, annotated.labels, type_map(annotated))
    assert result.counts.n_matched == result.counts.n_truth == result.counts.n_found
    assert all(one.wrongly == one.missed == 0 for one in result.types)
    assert sum(one.right for one in result.types) == result.counts.n_truth


def test_labels_of_half_the_resolution_are_compared_at_the_images_own(annotated):
    half = at_mpp(annotated, 1.0)
    result = compare(annotated, half.labels, type_map(half))
    assert result.counts.truth_px == np.count_nonzero(annotated.labels)
    assert result.counts.common_px > 0.9 * result.counts.truth_px


def test_types_the_network_does_not_know_are_refused(annotated):
    labels = annotated.labels
    with pytest.raises(DatasetError, match="has type 2, but the network knows 1"):
        compare(annotated, labels, np.zeros((1, *labels.shape), np.uint8))


def test_an_untyped_image_is_scored_without_types(manifest, recipe):
    plain = read_annotated(select_samples(manifest, "train", recipe)[1])
    types = np.zeros((2, *plain.labels.shape), np.uint8)
    assert compare(plain, plain.labels, types).types == ()


def test_evaluating_writes_means_over_images_and_a_row_each(
    manifest, recipe, loaded, tmp_path
):
    samples = select_samples(manifest, "train", recipe)
    told = []
    metrics = evaluate(
        loaded, samples, tmp_path / "out", progress=lambda *now: told.append(now)
    )
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written == metrics
    assert set(written) == {"typed", "plain"}
    assert written["plain"]["n_images"] == 2
    assert set(written["typed"]["types"]) == set(loaded.card.types)
    assert {"dice", "aji", "aji_plus", "dq", "sq", "pq", "f1_det"} <= set(
        written["plain"]
    )
    with (tmp_path / "out" / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    plain = [float(row["dice"]) for row in rows if row["set"] == "plain"]
    assert written["plain"]["dice"] == pytest.approx(sum(plain) / 2)
    assert len(told) == len(rows) == 3


def test_predicted_maps_have_the_networks_resolution(loaded, annotated):
    coarse = replace(annotated, sample=replace(annotated.sample, mpp=0.25))
    assert predict_image(loaded, coarse)["prob"].shape == (48, 48)


def test_calibration_finds_a_better_constant_and_keeps_the_rest(loaded, annotated):
    targets = loaded.network.targets(annotated.labels, None, 0)
    maps = {
        head.name: quantise(head, torch.from_numpy(targets[head.name])[None])[0]
        for head in loaded.network.heads(0)
    }
    maps["prob"] = (maps["prob"] * 0.3).astype(np.uint8)
    tried = []
    best, reached = calibrate(
        loaded,
        [(annotated, maps)],
        {"foreground": (0.2, 0.9)},
        tried=lambda decoding, value: tried.append((decoding, value)),
    )
    assert best == replace(loaded.decoding, foreground=0.2)
    assert reached == max(value for _, value in tried)
    assert reached > 0.6
