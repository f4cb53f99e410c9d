"""Training, evaluating, calibrating and teaching by a detector: no step is its own."""

import csv

import numpy as np
import pytest
import torch

from segpipe.errors import SettingsError
from segpipe.networks import load, network
from segpipe.training import calibrate as calibrating
from segpipe.training import fit
from segpipe.training.annotated import read_annotated
from segpipe.training.comparing import sums_inside
from segpipe.training.dev import dev_scores
from segpipe.training.evaluating import evaluate
from segpipe.training.export import export_weights
from segpipe.training.finding import NetworkFinder
from segpipe.training.manifest import read_manifest
from segpipe.training.recipe import SelfTraining
from segpipe.training.run import start
from segpipe.training.selecting import select_samples
from segpipe.training.self_training import pseudo_samples
from segpipe.training.stock import load_stock


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def detecting(dark_blobs, recipe):
    assert dark_blobs.exists()
    return recipe.model_copy(update={"network": "dark_blobs", "steps": 3})


@pytest.fixture
def finder(dark_blobs):
    return NetworkFinder(loaded=load(dark_blobs))


def test_its_targets_are_not_cut(detecting, draw_batch):
    chosen = network("dark_blobs")
    names = {one.name for one in detecting.sets}
    samples = select_samples(detecting.manifest, "train", detecting, only=names)
    stock = load_stock(detecting, samples, mpp=chosen.mpp)
    planes, targets = draw_batch(stock, detecting, chosen, 1)
    assert set(targets) == {"instances", "type", "valid", "reliable"}
    assert {t.shape[-2:] for t in targets.values()} == {planes.shape[-2:]}
    seen = {}
    chosen.loss_terms(
        chosen.build(2),
        (torch.zeros(2, 1, 64, 64), torch.zeros(2, 1, 32, 32)),
        Recording(targets, seen),
    )
    assert seen["instances"].shape == (2, 1, 64, 64)


class Recording(dict):
    """Notes what is read of it."""

    def __init__(self, values, seen):
        super().__init__(values)
        self.seen = seen

    def __getitem__(self, name):
        self.seen[name] = super().__getitem__(name)
        return self.seen[name]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_trains_and_is_exported(detecting, tmp_path, precision):
    recipe = detecting.model_copy(update={"precision": precision})
    weights = export_weights(fit.train(recipe, tmp_path / "run"), tmp_path)
    with (tmp_path / "run" / fit.LOG).open() as file:
        log = list(csv.DictReader(file))
    assert len(log) == recipe.steps
    assert float(log[-1]["mask"]) > 0
    untrained = network("dark_blobs").build(2).gain
    assert not torch.equal(load(weights).module.gain, untrained)


def test_it_is_scored_while_it_trains(detecting):
    chosen = network("dark_blobs")
    begun = start(detecting, chosen, torch.device("cpu"))
    image = read_annotated(read_manifest(detecting.manifest)[0])
    assert dev_scores(begun, detecting, chosen, [image])["dice"] > 0.5


def test_it_is_evaluated_with_its_scores_and_types(finder, manifest, tmp_path):
    samples = [one for one in read_manifest(manifest) if one.types is not None]
    found = finder.find(read_annotated(samples[0]))
    areas = sums_inside(found.labels, np.ones_like(found.labels))
    painted = sums_inside(found.labels, found.prob)
    assert len(found.scores) == found.labels.max() > 3
    assert np.array_equal(np.rint(found.scores * 255) * areas, painted)
    assert found.types.shape == (2, *found.labels.shape)
    metrics = evaluate(finder, samples, tmp_path / "out")["typed"]
    assert metrics["dice"] > 0.5
    assert 0 < metrics["ap50"] <= 1


def test_flips_are_refused(finder):
    with pytest.raises(SettingsError, match="masks of eight orientations have no mean"):
        NetworkFinder(loaded=finder.loaded, test_time="flips")


def test_its_constants_are_calibrated_by_asking_it_again(finder, manifest):
    image = read_annotated(read_manifest(manifest)[0])
    said = calibrating.answer_image(finder.loaded, image)
    tried = {}
    best, reached = calibrating.calibrate(
        finder.loaded,
        [(image, said)],
        {"above": (0.0, 5.0)},
        tried=lambda decoding, value: tried.update({decoding.above: value}),
    )
    assert set(tried) == {0.0, 0.5, 5.0}
    assert tried[5.0] == 0
    assert reached == max(tried.values()) == tried[best.above]


def test_it_teaches(dark_blobs, detecting, manifest, tmp_path):
    section = SelfTraining(
        images=str(manifest.parent / "im[01].png"),
        teacher=str(dark_blobs),
        mpp=0.5,
        confidence=0.6,
        agreement=0.5,
        weight=1,
    )
    taught = detecting.model_copy(update={"self_training": section})
    samples = pseudo_samples(taught, tmp_path / "run")
    one = read_annotated(samples[0])
    assert one.labels.any()
    assert one.known.mean() > 0.5
