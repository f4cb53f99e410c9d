"""Mask R-CNN has torchvision's names and outputs, and trusts only what it may."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from segpipe.errors import MapsInvalid, UnknownNetwork, WeightsError
from segpipe.networks import network
from segpipe.networks._boxes import iou, matched
from segpipe.networks._coco import load_coco
from segpipe.networks._instances import truth_of, unsure_share
from segpipe.networks._kernels import torchvision_ops
from segpipe.networks._layers import FrozenBatchNorm2d, fuse_conv_bn
from segpipe.networks._mask_rcnn_losses import (
    NEGATIVE_IOU,
    POSITIVE_IOU,
    _class_loss,
    rpn_terms,
    sampled_boxes,
)
from segpipe.networks._mask_rcnn_module import COCO, NUCLEI, edge_map, fed_shape
from segpipe.networks._resnet import BLOCKS, ResNet
from segpipe.networks._rpn import Limits, proposals
from segpipe.networks.mask_rcnn import NETWORK, variant
from segpipe.training.pretrained import load_encoder

GOLDEN = Path(__file__).parents[1] / "golden" / "networks"
KEYS = GOLDEN / "torchvision_maskrcnn_resnet50_fpn_keys.json"
OLD_NAMES = {
    "rpn.head.conv.0.0.": "rpn.head.conv.",
    "roi_heads.mask_head.2.0.": "roi_heads.mask_head.mask_fcn3.",
    "backbone.fpn.layer_blocks.1.0.": "backbone.fpn.layer_blocks.1.",
}


def of_coco():
    with torch.device("meta"):
        names = json.loads(KEYS.read_text())
        return {name: torch.empty(shape) for name, shape in names.items()}


def built(name, n_types=0):
    with torch.device("meta"):
        return network(name).build(n_types).eval()


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", ["resnet50", "resnet50-coco", "resnet50-frozen"])
def test_names_and_shapes_are_torchvisions(name):
    official = {name: list(value.shape) for name, value in of_coco().items()}
    state = built(f"mask_rcnn:{name}", 90).state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == official


def test_coco_weights_load_under_old_names_and_for_other_classes():
    def renamed(name):
        for new, old in OLD_NAMES.items():
            name = name.replace(new, old)
        return name

    state = {
        renamed(name): value
        for name, value in of_coco().items()
        if not name.endswith("num_batches_tracked")
    }
    assert len(set(state) & set(of_coco())) < len(state) - 3
    load_coco(built("mask_rcnn:resnet50", 90), state)
    load_coco(built("mask_rcnn:resnet50", 4), state)
    with pytest.raises(WeightsError, match="not torchvision's"):
        load_coco(built("mask_rcnn:resnet101", 90), state)
    del state["backbone.body.layer1.0.conv1.weight"]
    with pytest.raises(WeightsError, match=r"layer1\.0\.conv1"):
        load_coco(built("mask_rcnn:resnet50", 90), state)


def test_a_recipe_may_start_from_all_of_coco_or_from_an_encoder(tmp_path):
    """By ``encoder_weights``, whichever of the two the file is of."""
    module = network("mask_rcnn:resnet50").build(4)
    theirs = {name: torch.rand(value.shape) for name, value in of_coco().items()}
    torch.save(theirs, tmp_path / "coco.pth")
    load_encoder(module, str(tmp_path / "coco.pth"))
    ours = module.state_dict()
    for name in ("backbone.body.conv1.weight", "roi_heads.mask_head.3.0.weight"):
        assert torch.equal(ours[name], theirs[name])
    assert len(ours["roi_heads.box_predictor.cls_score.weight"]) == 5
    of = "backbone.body."
    body = {n.removeprefix(of): v for n, v in theirs.items() if n.startswith(of)}
    torch.save(body, tmp_path / "imagenet.pth")
    other = network("mask_rcnn:resnet50").build(4)
    before = other.state_dict()["roi_heads.mask_head.3.0.weight"].clone()
    load_encoder(other, str(tmp_path / "imagenet.pth"))
    state = other.state_dict()
    name = "backbone.body.conv1.weight"
    assert torch.equal(state[name], theirs[name])
    assert torch.equal(state["roi_heads.mask_head.3.0.weight"], before)
    light = network("mask_rcnn").build(4)
    with pytest.raises(WeightsError, match="not torchvision's weights"):
        load_encoder(light, str(tmp_path / "coco.pth"))


@pytest.mark.skipif(torchvision_ops() is None, reason="torchvision doesn't import")
def test_outputs_are_torchvisions():
    from torchvision.models import detection  # noqa: PLC0415 - may not import

    torch.manual_seed(0)
    theirs = detection.maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=50,
    ).eval()
    for name, value in theirs.named_buffers():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    for name, weight in theirs.named_parameters():
        if name.endswith("bn3.weight"):
            torch.nn.init.constant_(
                weight, 0.2
            )  # or else sums grow from block to block
    module = variant("resnet50-coco").build(90).eval()
    load_coco(module, theirs.state_dict())
    rgb = torch.rand(2, 3, 128, 192)
    close = {"rtol": 0, "atol": 1e-4}
    with torch.inference_mode():
        images = theirs.transform([*rgb], None)[0]
        images.tensors = (rgb - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / (
            torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        )
        images.image_sizes = [(128, 192)] * 2
        features = theirs.backbone(images.tensors)
        outputs = module(rgb * 255)
        for ours, level in zip(outputs[2:], features.values(), strict=False):
            torch.testing.assert_close(ours, level, **close)
        made = theirs.rpn.anchor_generator(images, [*features.values()])[0]
        assert torch.equal(torch.cat(module.anchors(outputs[2:])), made)
        boxes = theirs.rpn(images, features)[0]
        limits = Limits(n_before=300, n_after=50, iou=0.7)
        for ours, expected in zip(
            module.proposals(outputs, limits), boxes, strict=True
        ):
            torch.testing.assert_close(ours, expected, **close)
        image = torch.tensor([0] * len(boxes[0]) + [1] * len(boxes[1]))
        heads = theirs.roi_heads
        pooled = heads.box_roi_pool(features, boxes, images.image_sizes)
        logits, offsets = heads.box_predictor(heads.box_head(pooled))
        found = module.classes_of(outputs[2:], torch.cat(boxes), image)
        torch.testing.assert_close(found[0], logits, **close)
        torch.testing.assert_close(found[1].flatten(1), offsets, **close)
        pooled = heads.mask_roi_pool(features, boxes, images.image_sizes)
        masks = heads.mask_predictor(heads.mask_head(pooled))
        found = module.masks_of(outputs[2:], torch.cat(boxes), image)
        torch.testing.assert_close(found, masks, **close)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_resnet_has_the_published_number_of_weights(name):
    with torch.device("meta"):
        resnet = ResNet(BLOCKS[name])
        features = resnet(torch.empty(1, 3, 64, 96))
    n_weights = sum(weight.numel() for weight in resnet.parameters())
    assert n_weights == {"resnet50": 23_508_032, "resnet101": 42_500_160}[name]
    for at, (seen, width) in enumerate(zip(features, resnet.widths, strict=True), 1):
        assert seen.shape == (1, width, 64 // 2**at, 96 // 2**at)


def test_frozen_batch_norms_stay_in_training():
    torch.manual_seed(0)
    norm = FrozenBatchNorm2d(3).train()
    norm.running_mean.fill_(2)
    x = torch.randn(2, 3, 4, 4)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    torch.testing.assert_close(norm(x), (x - 2) / (1 + norm.eps) ** 0.5)
    assert all(torch.equal(before[name], v) for name, v in norm.state_dict().items())
    norm.requires_grad_()
    assert not list(norm.parameters())


def test_frozen_batch_norms_are_fused_as_others_are():
    torch.manual_seed(0)
    norm = FrozenBatchNorm2d(3)
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        value.uniform_(0.5, 2)
    pair = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1, bias=False), norm).eval()
    x = torch.randn(1, 2, 4, 4)
    before = pair(x)
    assert not isinstance(fuse_conv_bn(pair)[1], FrozenBatchNorm2d)
    torch.testing.assert_close(pair(x), before)


def test_every_nucleus_has_an_anchor_that_overlaps_it():
    """Squares of 8 to 64 px anywhere; a square of 8 px is the worst."""
    rng = np.random.default_rng(0)
    sides = torch.tensor(np.geomspace(8, 64, 200), dtype=torch.float32)[:, None]
    corner = torch.tensor(rng.uniform(0, 192, (200, 2)), dtype=torch.float32)
    nuclei = torch.cat((corner, corner + sides), dim=1)
    shapes = [(256 // s, 256 // s) for s in (4, 8, 16)]
    anchors = torch.cat(NUCLEI.boxes(shapes, (4, 8, 16)))
    best = iou(nuclei, anchors).amax(dim=1)
    assert best.min() > NEGATIVE_IOU
    assert (best > POSITIVE_IOU).float().mean() > 0.85


def test_anchors_of_coco_are_twice_as_wide_as_high_to_twice_as_high_as_wide():
    made = COCO.boxes([(2, 3)] * 5, (4, 8, 16, 32, 64))
    assert [len(anchors) for anchors in made] == [18] * 5
    assert made[0][:3].tolist() == [
        [-23, -11, 23, 11],
        [-16] * 2 + [16] * 2,
        [-11, -23, 11, 23],
    ]
    assert (made[0][3] - made[0][0]).tolist() == [4, 0, 4, 0]


def test_proposals_are_cut_singled_out_and_limited():
    shapes = [(16, 16), (8, 8), (4, 4)]
    anchors = NUCLEI.boxes(shapes, (4, 8, 16))
    n = sum(map(len, anchors))
    torch.manual_seed(0)
    objectness, offsets = torch.randn(n), torch.randn(n, 4) / 2
    few = Limits(n_before=40, n_after=30, iou=0.5)
    found = proposals(objectness, offsets, anchors, (64, 64), few)
    assert len(found) == 30
    assert bool(((found >= 0) & (found <= 64)).all())
    every = proposals(objectness, offsets, anchors, (64, 64), few._replace(n_after=n))
    assert torch.equal(every[:30], found)
    offsets[7] = torch.nan
    assert proposals(objectness, offsets, anchors, (64, 64), few).isfinite().all()


def test_a_nucleus_that_no_anchor_fits_is_learnt_by_the_best_that_overlaps_it():
    labels = torch.zeros(1, 1, 128, 128, dtype=torch.int32)
    labels[..., 60:64, 40:80] = 1
    truth = truth_of({"instances": labels}, 0)
    anchors = torch.cat(NUCLEI.boxes([(32, 32), (16, 16), (8, 8)], (4, 8, 16)))
    said = torch.zeros(1, len(anchors)), torch.zeros(1, len(anchors), 4)
    assert matched(anchors, truth.instances.boxes).best.max() < POSITIVE_IOU
    assert rpn_terms(*said, anchors, truth)["rpn_box"] > 0
    assert rpn_terms(*said, anchors + 500, truth)["rpn_box"] == 0


@pytest.fixture(scope="module")
def scene(make_ellipses):
    """A patch, half of which can't be trusted."""
    labels = make_ellipses(1, n=30)
    reliable = np.ones((1, *labels.shape), np.float32)
    reliable[:, :, 64:] = 0
    return {
        "instances": torch.from_numpy(labels[None, None]),
        "reliable": torch.from_numpy(reliable),
    }


def test_anchors_where_nothing_is_reliable_are_not_judged(scene):
    truth = truth_of(scene, 0)
    anchors = torch.cat(NUCLEI.boxes([(32, 32), (16, 16), (8, 8)], (4, 8, 16)))
    objectness, offsets = torch.zeros(1, len(anchors)), torch.zeros(1, len(anchors), 4)
    doubtful = unsure_share(anchors, truth.unsure[0]) > 0.9
    assert doubtful.sum() > 1000
    terms = []
    for value in (0.0, 50.0):
        objectness[:, doubtful] = value
        torch.manual_seed(0)
        terms.append(rpn_terms(objectness, offsets, anchors, truth))
    assert terms[0] == terms[1]
    assert terms[0]["rpn_objectness"] == pytest.approx(np.log(2))


def test_boxes_of_what_is_not_reliable_are_never_drawn(scene):
    truth = truth_of(scene, 0)
    torch.manual_seed(0)
    proposed = truth.instances.boxes + torch.rand(len(truth.instances), 4) * 2
    sample = sampled_boxes([proposed], truth)
    assert sample.positive.any()
    assert unsure_share(sample.boxes, truth.unsure[0]).max() <= 0.3
    overlap = iou(sample.boxes, sample.instances.boxes).diagonal()
    assert (overlap[sample.positive] >= POSITIVE_IOU).all()


def test_a_nucleus_of_unknown_type_may_be_of_any():
    torch.manual_seed(0)
    logits = torch.randn(3, 4)
    known, positive = torch.tensor([0, 0, 2]), torch.tensor([True, False, True])
    p = logits.softmax(dim=1)
    expected = -((1 - p[0, 0]).log() + p[1, 0].log() + p[2, 2].log())
    torch.testing.assert_close(_class_loss(logits, known, positive), expected)


@pytest.mark.parametrize("options", ["", "-roipool", "-softmax", "-edges"])
def test_every_weight_of_every_ablation_learns(options, scene):
    torch.manual_seed(0)
    chosen = variant(f"mobilenetv2{options}")
    module = chosen.build(2).train()
    outputs = module(torch.rand(1, 3, 128, 128) * 255)
    sum(chosen.loss(module, outputs, scene).values()).backward()
    idle = [name for name, w in module.named_parameters() if w.grad is None]
    assert not idle


def test_an_edge_map_is_nought_where_nothing_changes():
    rgb = torch.zeros(1, 3, 6, 8)
    rgb[..., 4:] = 255
    found = edge_map(rgb)[0, 0]
    expected = torch.zeros(6, 8)
    expected[:, 3:5] = 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert torch.equal(edge_map(rgb.mT)[0, 0], found.T)


@pytest.fixture(scope="module")
def seen():
    """A module with random weights, and what it says of noise; wide masks."""
    torch.manual_seed(3)
    module = NETWORK.build(2).eval()
    torch.nn.init.constant_(module.roi_heads.mask_predictor.mask_fcn_logits.bias, 3)
    with torch.inference_mode():
        return module, module(torch.rand(1, 3, 128, 128) * 255)


def test_boxes_that_look_alike_are_doubles_if_that_is_asked_for(seen):
    module, outputs = seen
    decoding = replace(NETWORK.decoding(), least_score=0.0)
    plain, alike = (
        NETWORK.detect(module, outputs, replace(decoding, alike=alike))[0]
        for alike in (1.0, -1.0)
    )
    assert 0 < len(alike) < len(plain) / 2
    boxes = torch.from_numpy(alike.boxes).float()
    assert iou(boxes, boxes).fill_diagonal_(0).max() < 0.1, "they hardly touch"


def test_a_window_of_dense_tissue_has_room_for_all(seen):
    """Surer than all else: 700 anchors of 14 px, one beside the other."""
    module, _ = seen
    levels = [torch.zeros(1, 96, n, n) for n in (128, 64, 32)]
    anchors = torch.cat(module.anchors(levels))
    sides, centre = anchors[:, 2:] - anchors[:, :2], anchors[:, :2] + 7
    rows = ((sides == 14).all(dim=1) & (centre % 16 == 2).all(dim=1)).nonzero()[:, 0]
    assert len(rows) > 700
    objectness = torch.full((1, len(anchors)), -5.0)
    objectness[:, rows] = 5.0
    outputs = (objectness, torch.zeros(1, len(anchors), 4), *levels)
    assert fed_shape(levels) == (512, 512)
    boxes = module.proposals(outputs)[0]
    assert torch.equal(boxes[: len(rows)], anchors[rows].clamp(0, 512))
    decoding = replace(NETWORK.decoding(), least_score=0.0)
    assert len(NETWORK.detect(module, outputs, decoding)[0]) >= 700


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("box_predictor.cls_score", "classes"),
        ("box_predictor.bbox_pred", "offsets"),
        ("mask_predictor.mask_fcn_logits", "masks"),
    ],
)
def test_heads_that_give_no_numbers_are_refused(seen, part, name, value):
    module, outputs = seen
    broken = NETWORK.build(2).eval()
    broken.load_state_dict(module.state_dict())
    torch.nn.init.constant_(broken.roi_heads.get_submodule(part).bias, value)
    decoding = replace(NETWORK.decoding(), least_score=0.0)
    with pytest.raises(MapsInvalid, match=f"no finite number at .* of its {name} of"):
        NETWORK.detect(broken, outputs, decoding)


@pytest.mark.parametrize("name", ["resnet18", "resnet50-softmx", "mobilenetv2-coco"])
def test_there_are_no_other_builds(name):
    with pytest.raises(UnknownNetwork, match="roipool"):
        network(f"mask_rcnn:{name}")
