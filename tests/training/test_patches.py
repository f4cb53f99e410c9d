from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from segpipe.networks import network
from segpipe.training.annotated import read_annotated
from segpipe.training.augment import Augmentation
from segpipe.training.patches import Source, draw_batch, draw_patch, load_sources
from segpipe.training.selecting import select_samples

HOVERLITE = network("hoverlite")


@pytest.fixture
def sources(manifest, recipe):
    samples = select_samples(manifest, "train", recipe)
    return load_sources(recipe, samples, mpp=0.5)


def test_shares_follow_the_recipe_and_held_out_images_stay_out(sources):
    assert [source.share for source in sources] == [2 / 3, 1 / 3]
    ids = [[image.sample.id for image in source.images] for source in sources]
    assert ids == [["im0"], ["im1", "im3"]]


def test_a_batch_depends_on_seed_and_step_alone(sources, recipe):
    first, targets = draw_batch(sources, recipe, HOVERLITE, 5)
    again, _ = draw_batch(sources, recipe, HOVERLITE, 5)
    later, _ = draw_batch(sources, recipe, HOVERLITE, 6)
    other = recipe.model_copy(update={"seed": 2})
    foreign, _ = draw_batch(sources, other, HOVERLITE, 5)
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, foreign)
    assert first.shape == (2, 3, 64, 64)
    assert targets["type"].shape == (2, 2, 64, 64)
    assert set(targets) == {"prob", "hv", "type", "valid", "reliable"}


def test_image_and_labels_move_together(manifest, recipe):
    sample = select_samples(manifest, "train", recipe)[0]
    annotated = read_annotated(sample)
    shown = np.where(annotated.labels[..., None] > 0, 40, 220).astype(np.uint8)
    shown = np.ascontiguousarray(shown.repeat(3, axis=2))
    source = Source(images=(replace(annotated, image=shown),), share=1.0)
    plain = replace(Augmentation(), stain=0, tint=0, contrast=0, brightness=0, chance=0)
    geometry = recipe.model_copy(update={"augmentation": plain})
    for seed in range(8):
        rng = np.random.default_rng(seed)
        planes, targets = draw_patch([source], geometry, HOVERLITE, rng)
        agree = (planes[0] < 130) == (targets["prob"][0] > 0)
        inside = cv2.erode(targets["valid"], np.ones((3, 3))) > 0
        assert agree[inside].mean() > 0.97


def test_padding_is_not_valid_and_cut_nuclei_are_not_reliable(sources, recipe):
    large = recipe.model_copy(update={"patch_px": 160})
    for seed in range(4):
        rng = np.random.default_rng(seed)
        _, targets = draw_patch(sources, large, HOVERLITE, rng)
        shown = targets["valid"] > 0
        assert 0.1 < shown.mean() < 0.9
        assert not targets["prob"][0][~shown].any()
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        rim = shown & (cv2.erode(targets["valid"], cross) == 0)
        cut = rim & (targets["prob"][0] > 0)
        assert not targets["reliable"][cut].any()
