from dataclasses import replace

import cv2
import numpy as np
import pytest

from segpipe.training.appearance import degrade, stain_jitter
from segpipe.training.augment import OFF, Augmentation, CopyPaste
from segpipe.training.warp import _displacement, sampling_field


@pytest.fixture
def picture(rng):
    coarse = rng.integers(30, 240, (8, 8, 3), np.uint8)
    return cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)


def test_without_reach_geometry_is_flips_and_quarter_turns(rng):
    image = np.arange(64, dtype=np.float32).reshape(8, 8)
    seen = set()
    for _ in range(40):
        x, y = sampling_field(8, (3.5, 3.5), OFF, rng)
        patch = cv2.remap(image, x, y, cv2.INTER_NEAREST)
        seen.add(patch.tobytes())
    turned = [np.rot90(m, k) for m in (image, image[:, ::-1]) for k in range(4)]
    assert seen == {np.ascontiguousarray(t).tobytes() for t in turned}


def test_zoom_and_displacement_stay_within_reach(rng):
    aug = replace(OFF, scale=0.3, elastic_px=1.0)
    for _ in range(20):
        x, y = sampling_field(65, (100.0, 50.0), aug, rng)
        assert abs(x[32, 32] - 50) < 8
        assert abs(y[32, 32] - 100) < 8
        assert np.hypot(x - 50, y - 100).max() < np.sqrt(2) * 32 * np.exp(0.3) + 8


def test_without_strength_colours_stay(picture, rng):
    np.testing.assert_allclose(
        stain_jitter(picture, OFF, rng).astype(int), picture, atol=2
    )


def test_stain_jitter_keeps_white_white(rng):
    white = np.full((4, 4, 3), 255, np.uint8)
    aug = replace(OFF, stain=0.5)
    assert stain_jitter(white, aug, rng).min() >= 253


def test_without_chance_nothing_is_degraded(picture, rng):
    aug = replace(Augmentation(), chance=0.0)
    assert degrade(picture, aug, rng) is picture


@pytest.mark.parametrize("kind", ["blur_px", "sharpening", "noise", "jpeg_quality"])
def test_each_degradation_changes_the_picture_a_little(picture, rng, kind):
    worst = {"blur_px": 2.0, "sharpening": 2.0, "noise": 10.0, "jpeg_quality": 30}
    aug = replace(OFF, chance=1.0, **{kind: worst[kind]})
    degraded = degrade(picture, aug, rng)
    assert degraded.shape == picture.shape
    assert degraded.dtype == np.uint8
    difference = abs(degraded.astype(int) - picture).mean()
    assert 0.01 < difference < 25


def test_the_same_seed_gives_the_same_picture(picture):
    def disturb():
        rng = np.random.default_rng(7)
        aug = Augmentation()
        return degrade(stain_jitter(picture, aug, rng), aug, rng)

    np.testing.assert_array_equal(disturb(), disturb())


def displacements(rng, **fields):
    aug = replace(OFF, **fields)
    return np.stack([_displacement(96, aug, rng) for _ in range(60)])


def test_u_nets_coarse_grid_can_be_said(rng):
    far = displacements(rng, elastic_px=10, elastic_knots=3)
    at_knots = far[..., 16::32, 16::32]
    assert at_knots.std() == pytest.approx(10, rel=0.1)
    assert np.abs(np.diff(far, 2, axis=-1)).max() < 0.5, "smooth between knots"


def test_more_knots_bend_in_shorter_waves(rng):
    def bend(n_knots):
        fields = displacements(rng, elastic_px=2, elastic_knots=n_knots)
        return np.abs(np.diff(fields, 2, axis=-1)).mean()

    assert bend(9) > 3 * bend(3)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"noise": -1.0}, "noise is -1.0; zero is the least"),
        ({"chance": 1.5}, "chance is 1.5; 1 is the most"),
        ({"jpeg_quality": 101}, "jpeg_quality is 101; 100 is the most"),
        ({"elastic_knots": 1}, "elastic_knots is 1; 2 is the least"),
    ],
)
def test_impossible_settings_are_refused(fields, reason):
    with pytest.raises(ValueError, match=reason):
        Augmentation(**fields)


def test_impossible_pasting_is_refused():
    with pytest.raises(ValueError, match="overlap is 2; 1 is the most"):
        CopyPaste(overlap=2)


@pytest.mark.parametrize("quality", [96, 99])
def test_the_finest_compression_is_possible(picture, quality):
    aug = replace(OFF, chance=1.0, jpeg_quality=quality)
    degraded = degrade(picture, aug, np.random.default_rng(1))
    assert abs(degraded.astype(int) - picture).mean() < 4
