import threading
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
import torch

from segpipe.networks import network
from segpipe.training.annotated import read_annotated
from segpipe.training.augment import Augmentation, CopyPaste
from segpipe.training.feeding import feed
from segpipe.training.patches import draw_nth, draw_patch, draw_scene
from segpipe.training.selecting import select_samples
from segpipe.training.stock import Source, Stock, load_stock

HOVERLITE = network("hoverlite")


@pytest.fixture
def stock(manifest, recipe):
    samples = select_samples(manifest, "train", recipe)
    return load_stock(recipe, samples, mpp=0.5)


def test_shares_follow_the_recipe_and_held_out_images_stay_out(stock):
    assert [source.share for source in stock.sources] == [2 / 3, 1 / 3]
    ids = [[image.sample.id for image in source.images] for source in stock.sources]
    assert ids == [["im0"], ["im1", "im3"]]


def test_a_batch_depends_on_seed_and_step_alone(stock, recipe, draw_batch):
    first, targets = draw_batch(stock, recipe, HOVERLITE, 5)
    again, _ = draw_batch(stock, recipe, HOVERLITE, 5)
    later, _ = draw_batch(stock, recipe, HOVERLITE, 6)
    other = recipe.model_copy(update={"seed": 2})
    foreign, _ = draw_batch(stock, other, HOVERLITE, 5)
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, foreign)
    assert first.shape == (2, 3, 64, 64)
    assert targets["type"].shape == (2, 2, 64, 64)
    assert set(targets) == {"prob", "hv", "type", "weight", "valid", "reliable"}


STILL = Augmentation(
    scale=0, turn_deg=0, elastic_px=0,
    stain=0, tint=0, contrast=0, brightness=0, chance=0,
)  # fmt: skip
PASTING = CopyPaste(chance=1.0, feather_px=0.0)


@pytest.mark.parametrize(
    "geometry",
    [
        {},
        {"scale": 0.6},
        {"turn_deg": 45},
        {"elastic_px": 1.5},
        {"elastic_px": 6, "elastic_knots": 3},
        {"copy_paste": PASTING},
        {"scale": 0.3, "turn_deg": 20, "elastic_px": 2, "copy_paste": PASTING},
    ],
    ids=lambda geometry: "+".join(geometry) or "flips and quarter turns",
)
def test_image_and_labels_move_together(manifest, recipe, geometry):
    chosen = select_samples(manifest, "train", recipe)
    images = [drawn_from_its_labels(read_annotated(sample)) for sample in chosen]
    source = Stock.of([Source.of(images, share=1.0)])
    recipe = recipe.model_copy(update={"augmentation": replace(STILL, **geometry)})
    for seed in range(6):
        rng = np.random.default_rng(seed)
        planes, targets = draw_patch(source, recipe, HOVERLITE, rng)
        agree = (planes[0] < 130) == (targets["prob"][0] > 0)
        inside = cv2.erode(targets["valid"], np.ones((3, 3))) > 0
        assert agree[inside].mean() > 0.97


def drawn_from_its_labels(annotated):
    shown = np.where(annotated.labels[..., None] > 0, 40, 220).astype(np.uint8)
    return replace(annotated, image=np.ascontiguousarray(shown.repeat(3, axis=2)))


def test_what_is_not_known_is_not_valid(manifest, recipe):
    annotated = read_annotated(select_samples(manifest, "train", recipe)[0])
    half = np.zeros(annotated.labels.shape, np.bool_)
    half[:, :48] = True
    source = Stock.of([Source.of([replace(annotated, known=half)], share=1.0)])
    small = recipe.model_copy(update={"augmentation": STILL})
    valid = [
        draw_patch(source, small, HOVERLITE, np.random.default_rng(seed))[1]["valid"]
        for seed in range(20)
    ]
    assert 0.35 < np.mean(valid) < 0.65


def pasting(recipe, **fields):
    aug = Augmentation(copy_paste=CopyPaste(chance=1.0))
    return recipe.model_copy(update={"augmentation": aug, **fields})


def test_pasted_nuclei_depend_on_the_seed_alone(stock, recipe, draw_batch):
    first, targets = draw_batch(stock, pasting(recipe), HOVERLITE, 3)
    again, same = draw_batch(stock, pasting(recipe), HOVERLITE, 3)
    without, _ = draw_batch(stock, recipe, HOVERLITE, 3)
    assert torch.equal(first, again)
    assert not torch.equal(first, without)
    for name, target in targets.items():
        assert torch.equal(target, same[name]), name


def test_pasting_adds_nuclei_of_other_images(stock, recipe):
    def n_nuclei(recipe):
        scenes = [
            draw_scene(stock, recipe, np.random.default_rng(seed)) for seed in range(12)
        ]
        return sum(len(np.unique(scene.labels)) - 1 for scene in scenes)

    assert n_nuclei(pasting(recipe)) > n_nuclei(recipe) + 12
    alone = Stock.of([Source.of(stock.sources[0].images, share=1.0)])
    scene = draw_scene(alone, pasting(recipe), np.random.default_rng(1))
    assert set(np.unique(scene.labels)) <= set(
        np.unique(alone.sources[0].images[0].labels)
    )


def test_balance_brings_rare_types_up(stock, recipe):
    annotated = stock.sources[0].images[0]
    rare = np.where(annotated.labels == 3, 2, 1) * (annotated.labels > 0)
    lopsided = Stock.of(
        [Source.of([replace(annotated, types=rare.astype(np.uint8))], share=1.0)]
    )

    def share_of_rare(balance):
        tight = recipe.model_copy(
            update={"balance": balance, "patch_px": 32, "augmentation": STILL}
        )
        patches = [
            draw_patch(lopsided, tight, HOVERLITE, np.random.default_rng(seed))
            for seed in range(60)
        ]
        return np.mean([target["type"][1].any() for _, target in patches])

    assert share_of_rare(1.0) > 0.45
    assert share_of_rare(1.0) > share_of_rare(0.0) + 0.15


@pytest.mark.parametrize("n_workers", [1, 3])
def test_threads_feed_the_same_batches_in_order(stock, recipe, n_workers, draw_batch):
    draw = partial(draw_nth, stock, recipe, HOVERLITE)
    fed = list(feed(draw, range(2, 7), recipe.batch, n_workers=n_workers))
    assert [step for step, _ in fed] == [2, 3, 4, 5, 6]
    for step, (planes, targets) in fed:
        own, same = draw_batch(stock, recipe, HOVERLITE, step)
        assert torch.equal(planes, own)
        assert all(torch.equal(targets[name], same[name]) for name in same)


def test_a_fault_in_a_thread_ends_the_feeding(recipe):
    def fail(step, _index):
        message = f"patch of step {step}"
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="patch of step 1"):
        list(feed(fail, range(1, 9), recipe.batch, n_workers=2))


def test_feeding_stops_when_it_is_no_longer_wanted(stock, recipe):
    draw = partial(draw_nth, stock, recipe, HOVERLITE)
    fed = feed(draw, range(1, 1000), recipe.batch, n_workers=2)
    next(fed)
    fed.close()
    assert not [t for t in threading.enumerate() if "ThreadPoolExecutor" in t.name]


def test_padding_is_not_valid_and_cut_nuclei_are_not_reliable(stock, recipe):
    large = recipe.model_copy(update={"patch_px": 160})
    for seed in range(4):
        rng = np.random.default_rng(seed)
        _, targets = draw_patch(stock, large, HOVERLITE, rng)
        shown = targets["valid"] > 0
        assert 0.1 < shown.mean() < 0.9
        assert not targets["prob"][0][~shown].any()
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        rim = shown & (cv2.erode(targets["valid"], cross) == 0)
        cut = rim & (targets["prob"][0] > 0)
        assert not targets["reliable"][cut].any()
