import errno
import json
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from segpipe.errors import DatasetError, OutputNotWritable, SettingsError, ShapeMismatch
from segpipe.networks import MapsAnswer, card_of, load, weights_file
from segpipe.networks._inference import quantise
from segpipe.training import calibrate as calibrating
from segpipe.training import gallery
from segpipe.training.annotated import at_mpp, read_annotated
from segpipe.training.calibrate import calibrate, calibrate_weights
from segpipe.training.comparing import compare, mean_prob
from segpipe.training.evaluating import evaluate
from segpipe.training.export import annotate_card
from segpipe.training.finding import Found, NetworkFinder, answer_image, label_maps
from segpipe.training.scoring import Images, score_label_maps, score_network
from segpipe.training.selecting import select_samples
from segpipe.training.summarising import image_scores, summarise

NAMES = {"dice", "aji", "aji_plus", "dq", "sq", "pq", "f1_det", "ap50", "ap75", "map"}
ERRORS = {"pixel_error", "warping_error", "rand_error", "adapted_rand_error"}


@pytest.fixture(scope="module")
def loaded():
    torch.set_num_threads(1)
    return load("hoverlite")


@pytest.fixture
def samples(manifest, recipe):
    return select_samples(manifest, "train", recipe)


@pytest.fixture
def annotated(samples):
    return read_annotated(samples[0])


class Oracle:
    """Finds what is there, the type too; or all but the last nucleus."""

    name, types, facts = "oracle", ("small", "large"), {"network": "none"}

    def __init__(self, *, forgetful=False):
        self.forgetful = forgetful

    def check(self, annotated):
        assert annotated.labels.any()

    def find(self, annotated):
        labels = annotated.labels.copy()
        if self.forgetful:
            labels[labels == labels.max()] = 0
        n_found = len(np.unique(labels)) - 1
        types = None if annotated.types is None else type_map(annotated)
        prob = (labels > 0).astype(np.uint8) * 255
        return Found(labels=labels, types=types, scores=np.ones(n_found), prob=prob)


def type_map(annotated, n_types=2):
    planes = annotated.types == np.arange(1, n_types + 1)[:, None, None]
    return planes.astype(np.uint8) * 255


def test_the_truth_scores_perfectly(annotated):
    result = compare(annotated, annotated.labels, type_map(annotated))
    assert result.counts.n_matched == result.counts.n_truth == result.counts.n_found
    assert all(one.wrongly == one.missed == 0 for one in result.types)
    assert sum(one.right for one in result.types) == result.counts.n_truth
    assert result.confusion.sum() == np.trace(result.confusion) == result.counts.n_truth
    assert result.pixels.warped_px == result.pixels.differing_px == 0


def test_labels_of_half_the_resolution_are_compared_at_the_images_own(annotated):
    half = at_mpp(annotated, 1.0)
    ids = np.unique(half.labels)[1:]
    result = compare(annotated, half.labels, type_map(half), scores=ids / 100)
    assert result.counts.truth_px == np.count_nonzero(annotated.labels)
    assert result.counts.common_px > 0.9 * result.counts.truth_px
    assert result.ranking.scores.tolist() == sorted(ids / 100, reverse=True)


def test_a_nucleus_lost_in_resampling_takes_its_score_and_type_along(annotated):
    labels = np.kron(annotated.labels, np.ones((4, 4), np.int32))
    labels[0, 0] = 30_000
    ids = np.unique(labels)[1:]
    types = np.kron(type_map(annotated), np.ones((4, 4), np.uint8))
    result = compare(annotated, labels, types, scores=(ids < 30_000).astype(float))
    assert result.counts.n_found == len(ids) - 1
    assert result.ranking.scores.min() == 1
    assert result.confusion.sum() == np.trace(result.confusion)


def test_every_found_instance_needs_a_score(annotated):
    with pytest.raises(ShapeMismatch, match=r"can't have scores of shape \(2,\)"):
        compare(annotated, annotated.labels, scores=np.ones(2))


def test_what_the_annotation_says_nothing_of_counts_for_nothing(annotated):
    """As if the image ended where the annotation does."""
    known = np.ones(annotated.labels.shape, np.bool_)
    known[:, 48:] = False
    truth = np.where(known, annotated.labels, 0)
    partly = replace(annotated, labels=truth, known=known)
    labels = annotated.labels.copy()
    labels[20:30, 44:64] = 900
    labels[60:70, 40:54] = 901
    prob = (labels > 0).astype(np.uint8) * 200
    prob[0, 60] = 77
    ids = np.unique(labels)[1:]
    found = compare(partly, labels, type_map(annotated), scores=ids / 999, prob=prob)
    left, kept = annotated.labels[:, :48], np.where(labels == 900, 0, labels)[:, :48]
    kept_ids = np.unique(kept)[1:]
    alone = compare(
        replace(annotated, labels=left, types=annotated.types[:, :48]),
        np.ascontiguousarray(kept),
        np.ascontiguousarray(type_map(annotated)[..., :48]),
        scores=kept_ids / 999,
    )
    assert 900 not in kept_ids
    assert 901 in kept_ids
    assert found.counts.found_px == alone.counts.found_px
    assert found.pixels == alone.pixels
    reliable = compare(partly, labels, prob=prob).reliability
    assert reliable.n_px.sum() == known.sum()
    assert reliable.n_px[77] == 0
    assert found.counts.n_found == found.ranking.scores.size


def test_a_mask_that_says_all_is_known_changes_nothing(annotated):
    labels = np.roll(annotated.labels, 2, axis=1)
    ids = np.unique(labels)[1:]
    prob = (labels > 0).astype(np.uint8) * 200
    known = np.ones(labels.shape, np.bool_)
    plain, masked = (
        compare(one, labels, type_map(annotated), scores=ids / 99, prob=prob)
        for one in (annotated, replace(annotated, known=known))
    )
    assert plain.counts == masked.counts
    assert plain.pixels == masked.pixels
    assert plain.types == masked.types
    assert (plain.confusion == masked.confusion).all()
    assert (plain.ranking.scores == masked.ranking.scores).all()
    assert (plain.reliability.n_px == masked.reliability.n_px).all()
    assert (plain.reliability.true_px == masked.reliability.true_px).all()


def test_where_nothing_is_known_there_is_nothing_to_score(annotated):
    nowhere = replace(annotated, known=np.zeros(annotated.labels.shape, np.bool_))
    row = image_scores(compare(nowhere, annotated.labels))
    assert all(np.isnan(value) for value in row.values()), row


def test_an_image_of_unknown_resolution_is_not_compared_at_a_guessed_one(annotated):
    lost = replace(annotated, sample=replace(annotated.sample, mpp=None))
    with pytest.raises(DatasetError, match="typed im0 has no mpp"):
        compare(lost, annotated.labels)


def test_a_score_is_the_mean_probability_inside():
    labels = np.array([[7, 7, 0], [0, 3, 3]])
    prob = np.array([[255, 0, 255], [9, 51, 51]], np.uint8)
    assert mean_prob(labels, prob).tolist() == [0.2, 0.5]


def test_types_the_network_does_not_know_are_refused(annotated):
    labels = annotated.labels
    with pytest.raises(DatasetError, match="has type 2, but the network knows 1"):
        compare(annotated, labels, np.zeros((1, *labels.shape), np.uint8))


def test_an_untyped_image_is_scored_without_types(samples):
    plain = read_annotated(samples[1])
    types = np.zeros((2, *plain.labels.shape), np.uint8)
    assert compare(plain, plain.labels, types).types == ()


def test_perfect_finds_have_perfect_scores_in_both_averages(samples, tmp_path):
    metrics = evaluate(Oracle(), samples, tmp_path)
    for row in metrics.values():
        for name in NAMES:
            assert row[name] == pytest.approx(1, abs=1e-6)
            assert row["pooled"][name] == pytest.approx(1, abs=1e-6)
        assert {row[name] for name in ERRORS} == {0}
        assert row["calibration"]["expected_error"] == 0
    assert metrics["typed"]["mpq"] == pytest.approx(1, abs=1e-6)
    assert metrics["typed"]["mpq_plus"] == pytest.approx(1, abs=1e-6)
    assert metrics["typed"]["f1_type"] == 1


def test_means_weigh_images_and_pools_weigh_nuclei(samples):
    read = [read_annotated(sample) for sample in samples if sample.set == "plain"]
    few = replace(read[1], labels=np.where(read[1].labels == 1, 1, 0).astype(np.int32))
    missed = compare(few, np.zeros_like(few.labels))
    found = compare(read[0], read[0].labels)
    (row,) = summarise([found, missed], ()).values()
    n = found.counts.n_truth
    assert row["pq"] == pytest.approx(1 / 2, abs=1e-6)
    assert row["pooled"]["dq"] == pytest.approx(2 * n / (2 * n + 1))
    assert row["n_nuclei"] == n + 1


def test_evaluating_writes_means_over_images_and_a_row_each(samples, loaded, tmp_path):
    told = []
    metrics = evaluate(
        NetworkFinder(loaded=loaded),
        samples,
        tmp_path / "out",
        progress=lambda *now: told.append(now),
    )
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written == metrics
    assert set(written) == {"typed", "plain"}
    assert written["plain"]["n_images"] == 2
    assert set(written["typed"]["types"]) == set(loaded.card.types)
    assert set(written["plain"]) >= NAMES | ERRORS
    rows = pd.read_parquet(tmp_path / "out" / "images.parquet")
    plain = rows[rows["set"] == "plain"]
    for name in ("dice", "pq", "warping_error", "map"):
        assert written["plain"][name] == pytest.approx(plain[name].mean())
    assert rows.attrs["weights_sha256"] == loaded.card.sha256
    assert [now[0] for now in told] == ["checking"] * 3 + ["evaluating"] * 3
    curves = pd.read_parquet(tmp_path / "out" / "curves.parquet")
    at_half = curves[(curves["set"] == "plain") & (curves["iou"] == 0.5)]
    assert len(at_half) == 101
    assert at_half["precision"].mean() == pytest.approx(
        written["plain"]["pooled"]["ap50"]
    )


def test_the_page_shows_the_worst_images_first(samples, tmp_path):
    evaluate(Oracle(forgetful=True), samples, tmp_path)
    page = (tmp_path / "evaluation.html").read_text()
    assert page.count("<img") == len(samples)
    assert page.index("Worst images") < page.index("<img")
    assert 'src="data:image/jpeg' in page
    assert "http" not in page


def test_only_pictures_of_the_extremes_are_kept(annotated):
    shown = gallery.Gallery()
    n_all = annotated.labels.max()
    for kept in range(1, n_all + 1):
        found = np.where(annotated.labels <= kept, annotated.labels, 0)
        sample = replace(annotated.sample, id=str(kept))
        one = replace(annotated, sample=sample)
        shown.add(one, found, compare(one, found))
    worst, best = (
        [look.caption.split(",")[0].split(":")[0] for look in looks]
        for looks in (shown.worst("typed"), shown.best("typed"))
    )
    assert worst == ["1", "2", "3"]
    assert best == [str(n_all), str(n_all - 1), str(n_all - 2)]


def test_sets_without_scores_have_no_curve(samples, tmp_path):
    folder = tmp_path / "found"
    folder.mkdir()
    for sample in samples:
        labels = cv2.imread(str(sample.labels), cv2.IMREAD_UNCHANGED)
        np.save(folder / f"{sample.id}.npy", labels)
    metrics = evaluate(label_maps(folder, samples), samples, tmp_path / "out")
    assert metrics["plain"]["pq"] == pytest.approx(1, abs=1e-6)
    assert "map" not in metrics["plain"]
    assert "f1_type" not in metrics["typed"]
    assert pd.read_parquet(tmp_path / "out" / "curves.parquet").empty


def test_label_maps_of_another_tool_are_found_by_set_and_id(manifest, recipe, tmp_path):
    samples = [
        *select_samples(manifest, "train", recipe),
        *select_samples(manifest, "dev", recipe),
    ]
    typed = [sample for sample in samples if sample.set == "typed"]
    (tmp_path / "found" / "typed").mkdir(parents=True)
    for sample in typed:
        labels = cv2.imread(str(sample.labels), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(tmp_path / "found" / "typed" / f"{sample.id}.tif"), labels)
    images = Images(manifest=manifest, split="train", sets=["typed"])
    metrics = score_label_maps(tmp_path / "found", images, tmp_path / "out")
    assert metrics["typed"]["aji"] == 1
    with pytest.raises(DatasetError, match=r"no label map for 2 of 4 .* im1 of pl"):
        label_maps(tmp_path / "found", samples)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((3, 3), np.uint16), r"is \(3, 3\), its image \(96, 96\)"),
        (np.zeros((96, 96), np.float32), "float32"),
        (np.full((96, 96), -1), "ids from -1"),
        (np.zeros((96, 96), object), "can't be read as an array"),
    ],
)
def test_files_that_are_no_label_maps_are_refused(samples, tmp_path, labels, message):
    folder = tmp_path / "found"
    folder.mkdir()
    for sample in samples:
        np.save(folder / f"{sample.id}.npy", labels)
    with pytest.raises(DatasetError, match=message):
        evaluate(label_maps(folder, samples), samples, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.image.write_bytes(b""), "can't be read as a picture"),
        (
            lambda s: cv2.imwrite(str(s.labels), np.zeros((5, 5), np.uint16)),
            r"\(5, 5\)",
        ),
        (lambda s: cv2.imwrite(str(s.types), np.full((96, 96), 9, np.uint8)), "type 9"),
        (
            lambda s: tifffile.imwrite(s.labels, np.full((96, 96), 70_000, np.uint32)),
            "70000",
        ),
    ],
)
def test_every_image_is_checked_before_the_first_is_evaluated(
    samples, tmp_path, spoil, message
):
    spoil(samples[0])
    told = []
    with pytest.raises(DatasetError, match=f"1 of 3 images.*{message}"):
        evaluate(
            Oracle(), samples, tmp_path / "out", progress=lambda *now: told.append(now)
        )
    assert {what for what, _, _ in told} == {"checking"}
    assert not (tmp_path / "out").exists()


def test_a_folder_that_can_not_be_made_is_refused_before_the_first(samples, tmp_path):
    told = []
    (tmp_path / "file").touch()
    with pytest.raises(OutputNotWritable, match="can't be made"):
        evaluate(
            Oracle(), samples, tmp_path / "file", progress=lambda *now: told.append(now)
        )
    assert {what for what, _, _ in told} == {"checking"}


def test_a_set_without_the_split_is_refused_with_what_there_is(manifest, tmp_path):
    images = Images(manifest=manifest, split="test", sets=["typed"])
    with pytest.raises(
        DatasetError, match=r"split 'test'.*train of plain.*train of ty"
    ):
        score_network("hoverlite", images, tmp_path)
    images = Images(manifest=manifest, split="train", sets=["typed", "kumar"])
    with pytest.raises(DatasetError, match="of split 'train' in kumar"):
        images.select(None)


def test_a_network_that_knows_fewer_types_is_refused(loaded, samples, tmp_path):
    card = replace(loaded.card, types=("only",))
    finder = NetworkFinder(loaded=replace(loaded, card=card))
    with pytest.raises(DatasetError, match="has type 2, but the network knows 1"):
        evaluate(finder, samples, tmp_path)


def test_test_time_is_flips_or_none(loaded):
    with pytest.raises(SettingsError, match="not 'rotations'"):
        NetworkFinder(loaded=loaded, test_time="rotations")


def test_predicted_maps_have_the_networks_resolution(loaded, annotated):
    coarse = replace(annotated, sample=replace(annotated.sample, mpp=0.25))
    assert answer_image(loaded, coarse).maps["prob"].shape == (96, 96)


def test_calibration_finds_a_better_constant_and_keeps_the_rest(loaded, annotated):
    loaded = replace(loaded, decoding=loaded.network.decoding())
    targets = loaded.network.targets(annotated.labels, None, 0)
    maps = {
        head.name: quantise(head, torch.from_numpy(targets[head.name])[None])[0]
        for head in loaded.network.heads(0)
    }
    maps["prob"] = (maps["prob"] * 0.3).astype(np.uint8)
    tried = []
    best, reached = calibrate(
        loaded,
        [(annotated, MapsAnswer(network=loaded.network, maps=maps))],
        {"foreground": (0.2, 0.9)},
        tried=lambda decoding, value: tried.append((decoding, value)),
    )
    assert best == replace(loaded.decoding, foreground=0.2)
    assert reached == max(value for _, value in tried)
    assert reached > 0.6


@pytest.fixture
def weights(tmp_path):
    """The weights that ship, to write on."""
    shipped = weights_file("hoverlite")
    weights = tmp_path / "mine" / "hoverlite.safetensors"
    weights.parent.mkdir()
    for suffix in (".safetensors", ".toml"):
        copied = shipped.with_suffix(suffix).read_bytes()
        weights.with_suffix(suffix).write_bytes(copied)
    return weights


def test_a_card_that_can_not_be_written_is_refused_before_anything_is_predicted(
    manifest, weights, monkeypatch
):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(calibrating, "TemporaryFile", refuse)
    images = Images(manifest=manifest, split="train", sets=["typed"])
    told = []
    with pytest.raises(OutputNotWritable, match=r"hoverlite.toml can't .* Read-only"):
        calibrate_weights(weights, images, progress=lambda *now: told.append(now))
    assert told == []


def test_calibrating_writes_the_card_and_leaves_the_weights(
    manifest, weights, monkeypatch
):
    annotate_card(weights, decoding={"foreground": 0.9})
    constants = load(weights).network.decoding
    monkeypatch.setattr(constants, "CHOICES", {"foreground": (0.5, 0.9)})
    images = Images(manifest=manifest, split="train", sets=["typed"])
    decoded = Counter()
    decode = MapsAnswer.decode

    def counted(said, decoding):
        decoded[id(said), decoding] += 1
        return decode(said, decoding)

    monkeypatch.setattr(MapsAnswer, "decode", counted)
    found = calibrate_weights(weights, images)
    assert set(decoded.values()) == {1}, "by the same constants, once"
    assert found.constants == {}
    assert found.after["typed"] > found.before["typed"]
    again = load(weights)
    assert again.decoding == constants()
    assert again.card.scores == {}, "those there were, were of other constants"
    assert weights.read_bytes() == weights_file("hoverlite").read_bytes()


def test_images_without_a_nucleus_are_nothing_to_calibrate_on(loaded, annotated):
    empty = replace(annotated, labels=np.zeros_like(annotated.labels))
    said = MapsAnswer(network=loaded.network, maps={})
    with pytest.raises(DatasetError, match=r"None of the 1 images .* has a nucleus"):
        calibrate(loaded, [(empty, said)], {"foreground": (0.2, 0.9)})


def test_scores_in_a_card_are_of_its_constants(tmp_path):
    weights = tmp_path / "mine.safetensors"
    card = replace(card_of(weights_file("hoverlite")), decoding={}, scores={"a": {}})
    weights.with_suffix(".toml").write_text(card.to_toml())
    assert annotate_card(weights, decoding={}).scores == {"a": {}}
    new = {"a": {"pq": 0.5}}
    assert annotate_card(weights, scores=new).scores == new
    changed = annotate_card(weights, decoding={"foreground": 0.4}, scores=new)
    assert changed.scores == new
    assert annotate_card(weights, decoding={"foreground": 0.5}).scores == {}
    assert card_of(weights).scores == {}
