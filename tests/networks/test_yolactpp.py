"""Masks of prototypes are found again; what isn't known is neither found nor missed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from segpipe.errors import MapsInvalid, UnknownNetwork
from segpipe.metrics import count, scores
from segpipe.networks import _boxes, _prototypes, network, networks, yolactpp
from segpipe.networks._deformable import DeformableConv
from segpipe.networks._instances import Instances, truth_of, unsure_share
from segpipe.networks._layers import fuse_conv_bn
from segpipe.networks._prototypes import PADDING_PX, assembled, resampled
from segpipe.networks._resnet import BLOCKS, ResNet
from segpipe.networks._yolactpp_losses import Image, image_of, matched, terms
from segpipe.networks._yolactpp_parts import CODING, N_PROTOTYPES, Raw, anchors_of

SIDE = 96
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return network("yolactpp").build(0).eval()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from((6.0, 20.0, 90.0)), st.integers(1, 8))
def test_windows_show_what_the_whole_map_shows(seed, size, n):
    torch.manual_seed(seed)
    prototypes, coefficients = torch.rand(5, 24, 40), torch.randn(n, 5)
    corner = torch.rand(n, 2) * torch.tensor([80.0, 48.0])
    boxes = _boxes.clipped(
        torch.cat((corner, corner + 1 + size * torch.rand(n, 2)), dim=1), 48, 80
    )
    whole = functional.interpolate(
        torch.einsum("nk,khw->nhw", coefficients, prototypes)[None],
        scale_factor=2,
        mode="bilinear",
        align_corners=False,
    )[0]
    y, x = torch.arange(48)[:, None] + 0.5, torch.arange(80) + 0.5
    seen = []
    for masks in assembled(prototypes, coefficients, boxes):
        at = masks.pixels(80)
        for row, logits, inside, pixels in zip(
            masks.rows, masks.logits, masks.inside, at, strict=True
        ):
            x0, y0, x1, y1 = boxes[row]
            tall = (y >= y0 - PADDING_PX) & (y < y1 + PADDING_PX)
            wanted = tall & (x >= x0 - PADDING_PX) & (x < x1 + PADDING_PX)
            assert inside.sum() == wanted.sum()
            shown = whole[row].flatten()[pixels]
            torch.testing.assert_close(
                logits[inside], shown[inside], atol=1e-5, rtol=1e-4
            )
            seen.append(int(row))
    assert sorted(seen) == list(range(n)), "each box once"


def test_memory_bounds_change_nothing(monkeypatch):
    torch.manual_seed(0)
    prototypes, coefficients = torch.rand(4, 30, 30), torch.randn(9, 4)
    boxes = torch.tensor([[10.0, 12.0, 22.0, 25.0]]).repeat(9, 1)
    whole = [masks.logits for masks in assembled(prototypes, coefficients, boxes)]
    monkeypatch.setattr(_prototypes, "WINDOWS_FLOATS", 2 * 12 * 12 * 4)
    parts = [masks.logits for masks in assembled(prototypes, coefficients, boxes)]
    assert not list(assembled(prototypes, coefficients[:0], boxes[:0]))
    assert len(whole) == 1
    assert len(parts) == 5
    torch.testing.assert_close(torch.cat(parts), whole[0])


def test_a_mask_is_rated_as_seen_in_its_box():
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
    prototypes, boxes = torch.stack((y, x)), torch.tensor([[8.0, 4.0, 24.0, 12.0]])
    (masks,) = assembled(prototypes, torch.eye(2)[:1], boxes)
    seen = resampled(masks.logits, masks, boxes, 4)
    # Rows of a box from 4 to 12 px, in prototype pixels of 2 px.
    middles = torch.tensor([5.0, 7.0, 9.0, 11.0]) / 2 - 0.5
    torch.testing.assert_close(seen[0, 0], middles[:, None].expand(4, 4))


def test_anchors_are_those_of_the_head_and_fit_nuclei():
    side = network("yolactpp").window.input_px
    with torch.device("meta"):
        raw = Raw(*network("yolactpp").build(0)(torch.empty(1, 3, side, side)))
    anchors = anchors_of(side, side, CPU)
    assert raw.classes.shape[1] == raw.offsets.shape[1] == len(anchors)
    assert raw.prototypes.shape == (1, N_PROTOTYPES, side // 2, side // 2)
    for extent in (8, 11, 16, 23, 32, 45, 64):
        middle = (anchors[:, :2] + anchors[:, 2:]) / 2
        there = torch.cat((middle - extent / 2, middle + extent / 2), dim=1)
        shared = _boxes.iou(anchors[:, None], there[:, None])
        assert shared.max() > 0.6


def targets_of(labels, **more):
    shown = {"instances": labels[None].astype(np.int32), **more}
    return {name: torch.from_numpy(value)[None] for name, value in shown.items()}


def perfect(labels):
    """Return what a network should say of labels.

    Prototypes are the digits of ids in binary, and their complements; a nucleus asks
    for all of its own. A digit missed, or background, falls short by one.
    """
    truth = truth_of(targets_of(labels), 0)
    nuclei, anchors = truth.instances, anchors_of(*labels.shape, CPU)
    matches = matched(image_of(truth, 0), anchors)
    nucleus = matches.nucleus[matches.positive]
    n_bits = int(nuclei.label.max()).bit_length()
    coarse = torch.from_numpy(labels[::2, ::2].astype(np.int64))
    is_set = (coarse >> torch.arange(n_bits)[:, None, None]) & 1
    codes = torch.cat((is_set, 1 - is_set)).float()
    codes[:, coarse == 0] = 1 - 1 / n_bits
    prototypes = torch.zeros(1, N_PROTOTYPES, *coarse.shape)
    prototypes[0, : 2 * n_bits] = 8 * codes
    prototypes[0, 2 * n_bits] = 8 * (n_bits - 0.5)
    bits = (nuclei.label[nucleus, None] >> torch.arange(n_bits)) & 1
    coefficients = torch.zeros(1, len(anchors), N_PROTOTYPES)
    coefficients[0, matches.positive, : 2 * n_bits] = 9.0 * torch.cat(
        (bits, 1 - bits), dim=1
    )
    coefficients[0, :, 2 * n_bits] = -9
    classes = torch.zeros(1, len(anchors), 2)
    classes[0, :, 0] = 9
    classes[0, matches.positive, 1] = 18
    offsets = torch.zeros(1, len(anchors), 4)
    offsets[0, matches.positive] = _boxes.encode(
        nuclei.boxes[nucleus], anchors[matches.positive], CODING
    )
    inside = functional.avg_pool2d(torch.from_numpy(labels > 0)[None].float(), 8)
    return Raw(
        classes, offsets, coefficients, prototypes, torch.logit(inside, 1e-3)[None]
    )


@pytest.mark.parametrize("seed", [3, 4])
def test_perfect_outputs_are_the_labels(module, make_ellipses, seed):
    labels = make_ellipses(seed, side=SIDE, n=14)
    decoding = yolactpp.YolactDecoding(least_score=0.1)
    (found,) = yolactpp.detect(module, perfect(labels), decoding)
    assert len(found) == labels.max()
    masks, painted = found.unpacked(), np.zeros_like(labels)
    for row, (y0, x0, y1, x1) in enumerate(found.boxes):
        first = masks.firsts[row]
        solid = masks.pixels[first : first + (y1 - y0) * (x1 - x0)]
        painted[y0:y1, x0:x1][solid.reshape(y1 - y0, -1) > 0] = row + 1
    result = scores(count(labels, painted))
    assert result["dq"] == 1
    assert result["pq"] > 0.85, "at half the resolution"


def test_perfect_outputs_cost_less_than_none(module, make_ellipses):
    labels = make_ellipses(3, side=SIDE, n=14)
    right = perfect(labels)
    nothing = Raw(*(torch.zeros_like(raw) for raw in right))
    target = targets_of(labels)
    cost, most = (terms(module, raw, target) for raw in (right, nothing))
    for name, share in (("class", 0.01), ("box", 0.01), ("mask", 0.4), ("semantic", 1)):
        assert cost[name] < share * most[name], name


def test_what_is_not_sure_is_neither_found_nor_missed(make_ellipses):
    labels = make_ellipses(5, side=SIDE, n=14)
    reliable = np.where(labels == 1, 0, 1).astype(np.float32)
    valid = np.ones(labels.shape, np.float32)
    valid[:, :30] = 0
    truth = truth_of(targets_of(labels, reliable=reliable, valid=valid), 0)
    image, anchors = image_of(truth, 0), anchors_of(SIDE, SIDE, CPU)
    matches = matched(image, anchors)
    assert not image.nuclei.trusted[0]
    found = matches.nucleus[matches.positive]
    assert set(found.tolist()) == set(image.nuclei.trusted.nonzero()[:, 0].tolist())
    shared = _boxes.iou(anchors, image.nuclei.boxes[~image.nuclei.trusted])
    assert not (matches.negative & (shared >= 0.4).any(dim=1)).any()
    assert not (matches.negative & (anchors[:, 2] < 30)).any()
    assert not (matches.negative & matches.positive).any()


def matched_one_by_one(image, anchors):
    """What anchors should say, with all pairs compared at once."""
    nuclei = image.nuclei
    overlap = _boxes.iou(anchors, nuclei.boxes)
    most, nucleus = overlap.max(dim=1)
    is_best = torch.zeros(len(anchors), dtype=torch.bool)
    for row, anchor in enumerate(overlap.argmax(dim=0).tolist()):
        nucleus[anchor], is_best[anchor] = row, True
    shown = _boxes.clipped(anchors, *image.labels.shape)
    known = unsure_share(shown, image.unsure) < 0.5
    positive = ((most >= 0.5) | is_best) & nuclei.trusted[nucleus]
    return nucleus, positive, known & (most < 0.4) & ~is_best


@settings(max_examples=50)
@given(st.integers(0, 2**16), st.integers(1, 12), st.sampled_from((1, 30, 1 << 23)))
def test_matches_in_parts_are_those_of_all_pairs(seed, n, pairs):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 40, (60 + n, 2))
    rows = np.concatenate([corner, corner + rng.integers(4, 14, (60 + n, 2))], axis=1)
    boxes, zeros = torch.from_numpy(rows).float(), torch.zeros(n, dtype=torch.int64)
    nuclei = Instances(
        boxes=boxes[60:],
        image=zeros,
        label=zeros + 1,
        types=zeros,
        trusted=torch.from_numpy(rng.random(n) < 0.7),
    )
    unsure = torch.from_numpy(rng.random((48, 48)) < 0.45)
    image = Image(torch.zeros(48, 48, dtype=torch.int64), unsure, nuclei)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_boxes, "_PAIRS", pairs)
        found = matched(image, boxes[:60])
    for one, other in zip(found, matched_one_by_one(image, boxes[:60]), strict=True):
        assert torch.equal(one, other)


def test_a_nucleus_of_unknown_type_may_be_of_any(make_ellipses):
    torch.manual_seed(0)
    labels = make_ellipses(6, side=SIDE, n=8)
    typed = network("yolactpp").build(2)
    raw = perfect(labels)
    classes = torch.randn(1, raw.classes.shape[1], 3)
    swapped = classes[..., [0, 2, 1]]
    semantic = torch.zeros(1, 2, *raw.semantic.shape[2:])

    def cost(said, types):
        outputs = raw._replace(classes=said, semantic=semantic)
        return terms(typed, outputs, targets_of(labels, type=types[None]))["class"]

    unknown = np.zeros(labels.shape, np.uint8)
    known = (labels > 0).astype(np.uint8)
    torch.testing.assert_close(cost(classes, unknown), cost(swapped, unknown))
    assert abs(cost(classes, known) - cost(swapped, known)) > 1e-3


def test_the_best_are_kept_and_equals_by_position(module, make_ellipses, monkeypatch):
    labels = make_ellipses(3, side=SIDE, n=14)
    raw, anchors = perfect(labels), anchors_of(SIDE, SIDE, CPU)
    decoding = yolactpp.YolactDecoding(least_score=0.1)
    one = Raw(*(part[0] for part in raw))
    everything = yolactpp.found_of(one, anchors, decoding)
    monkeypatch.setattr(yolactpp, "N_KEPT", 3)
    best = yolactpp.found_of(one, anchors, decoding)
    assert torch.equal(best.boxes, everything.boxes[:3])
    assert (everything.chance == everything.chance[0]).all(), "all are sure"
    monkeypatch.setattr(yolactpp, "N_CANDIDATES", 1)
    (single,) = yolactpp.detect(module, raw, decoding)
    assert len(single) == 1


def test_outputs_that_are_no_numbers_are_refused(module, make_ellipses):
    raw = perfect(make_ellipses(3, side=SIDE, n=4))
    for name in ("coefficients", "prototypes"):
        broken = raw._replace(**{name: getattr(raw, name) * float("nan")})
        with pytest.raises(MapsInvalid, match="no finite number"):
            yolactpp.detect(module, broken, yolactpp.YolactDecoding())


@pytest.mark.parametrize(
    ("name", "n_deformable"),
    [("resnet50", 13), ("resnet101", 11), ("resnet50-nodcn", 0), ("mobilenetv2", 0)],
)
def test_builds_have_as_many_deformable_convolutions_as_published(name, n_deformable):
    with torch.device("meta"):
        built = network(f"yolactpp:{name}").build(0)
    layers = [one for one in built.modules() if isinstance(one, DeformableConv)]
    assert len(layers) == n_deformable


def test_builds_are_called_by_their_encoder():
    assert {"yolactpp", "yolactpp:resnet50"} <= set(networks())
    for name in ("vgg", "mobilenetv2-nodcn"):
        with pytest.raises(UnknownNetwork, match="resnet50, resnet101, each also"):
            network(f"yolactpp:{name}")


def test_imagenet_weights_leave_the_taps_where_they_are(monkeypatch):
    monkeypatch.setitem(BLOCKS, "resnet50", (1, 1, 1, 1))
    source = ResNet(BLOCKS["resnet50"])
    encoder = yolactpp.YolactResNet("resnet50", deformable=True)
    encoder.load_imagenet({**source.state_dict(), "fc.weight": torch.zeros(1)})
    taken = encoder.state_dict()
    for name, value in source.state_dict().items():
        assert torch.equal(taken[name], value), name
    moved = [value for name, value in taken.items() if ".taps." in name]
    assert len(moved) == 6
    assert not any(value.any() for value in moved)


def test_batch_norms_fold_into_deformable_convolutions(monkeypatch):
    monkeypatch.setitem(BLOCKS, "resnet50", (1, 1, 1, 1))
    torch.manual_seed(0)
    encoder = yolactpp.YolactResNet("resnet50", deformable=True)
    for name, weight in encoder.named_parameters():
        if ".taps." in name:
            torch.nn.init.normal_(weight, std=0.02)
    encoder(torch.rand(2, 3, 64, 64))
    rgb = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        apart = encoder.eval()(rgb)
        fused = fuse_conv_bn(encoder)(rgb)
    assert not any(isinstance(one, torch.nn.BatchNorm2d) for one in encoder.modules())
    for one, other in zip(apart, fused, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
