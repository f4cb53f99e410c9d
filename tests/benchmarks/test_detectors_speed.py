"""Inputs of 512 px a second: YOLACT++ beside Mask R-CNN, alike but for the method.

How many nuclei a network with random weights sees means nothing, so it is made to see a
given number: after its answer has been computed as ever, some anchors of 16 px, in rows
like nuclei that touch, are declared sure and all others background. Mask R-CNN has its
proposals besides, as many as its limits let through; all are classified.
"""

import time
from dataclasses import replace
from types import MethodType

import pytest
import torch

from segpipe.networks import network
from segpipe.networks._layers import fuse_conv_bn
from segpipe.networks._yolactpp_parts import Raw, anchors_of

SIDE, PITCH = 512, 16
SURE = 10.0
"""A logit."""
N_NUCLEI = {"": (100, 300, 700), ":resnet50": (300,)}
"""In an input, by encoder; 700 is what dense tissue has."""


def ready(name):
    torch.manual_seed(0)
    chosen = network(name)
    module = fuse_conv_bn(chosen.build(0).eval()).requires_grad_(requires_grad=False)
    return chosen, module.to(memory_format=torch.channels_last)


def in_rows(anchors, n):
    """Return the rows of n anchors of about 16 x 16 px that touch but don't overlap."""
    sides, middle = anchors[:, 2:] - anchors[:, :2], anchors[:, :2] + anchors[:, 2:]
    alike = (sides[:, 0] == sides[:, 1]) & (sides[:, 0] >= 14) & (sides[:, 0] <= 16)
    cell = (middle / 2 // PITCH).long()
    inside = ((cell >= 0) & (cell < SIDE // PITCH)).all(dim=1)
    rows = (alike & inside).nonzero()[:, 0]
    place = cell[rows, 1] * (SIDE // PITCH) + cell[rows, 0]
    # One anchor a cell: the first in order of anchors.
    first = torch.full((int(place.max()) + 1,), len(anchors)).scatter_reduce(
        0, place, rows, "amin"
    )
    return first[first < len(anchors)][:n]


def yolactpp_seeing(n):
    """Return what makes its outputs show n nuclei."""
    rows = in_rows(anchors_of(SIDE, SIDE, torch.device("cpu")), n)

    def planted(outputs):
        raw = Raw(*outputs)
        classes = torch.zeros_like(raw.classes)
        classes[..., 0] = SURE
        classes[:, rows, 1] = 2 * SURE
        offsets = torch.zeros_like(raw.offsets)
        full = torch.ones_like(raw.coefficients)
        return raw._replace(classes=classes, offsets=offsets, coefficients=full)

    return planted


def mask_rcnn_seeing(module, n):
    """Return what makes its outputs show n nuclei; its second stage is told, too."""
    classes_of = type(module).classes_of

    def told(self, levels, boxes, image):
        logits, offsets, seen = classes_of(self, levels, boxes, image)
        logits = torch.zeros_like(logits)
        logits[:, 0] = SURE
        logits[:n, 1] = 2 * SURE
        return logits, torch.zeros_like(offsets), seen

    module.classes_of = MethodType(told, module)

    def planted(outputs):
        objectness, offsets, *levels = outputs
        rows = in_rows(torch.cat(module.anchors(levels)), n)
        objectness = objectness.clone()
        objectness[:, rows] += 2 * SURE
        offsets = offsets.clone()
        offsets[:, rows] = 0
        return (objectness, offsets, *levels)

    return planted


CONSTANTS = {"yolactpp": {"least_score": 0.01}, "mask_rcnn": {"least_mask": 0.0}}
"""Masks of random weights fill their boxes, and are kept however they are rated."""


def decoding_of(chosen):
    constants = CONSTANTS[chosen.name.partition(":")[0]]
    return replace(chosen.decoding(), **constants)


@torch.inference_mode()
def seconds(chosen, module, planted):
    """Return how long pixels take to detections, of it forward, and their number."""
    rgb = torch.rand(1, 3, SIDE, SIDE) * 255
    rgb = rgb.contiguous(memory_format=torch.channels_last)
    decoding = decoding_of(chosen)
    started = time.perf_counter()
    outputs = module(rgb)
    forward = time.perf_counter() - started
    found = chosen.detect(module, planted(outputs), decoding)[0]
    return time.perf_counter() - started, forward, len(found)


def shortest(ours, theirs, times):
    """Take turns, so that whatever else runs slows both down."""
    turns = [(seconds(*ours), seconds(*theirs)) for _ in range(times)]
    return [min(turn[which] for turn in turns) for which in (0, 1)]


@pytest.mark.parametrize("on", N_NUCLEI)
def test_frames_a_second_beside_mask_rcnn(benchmark, on):
    if benchmark.disabled and on:
        pytest.skip("takes a while; make bench runs it")
    torch.set_num_threads(1)
    n_each, times = (N_NUCLEI[on], 3) if benchmark.enabled else ((60,), 1)
    ours, theirs = (ready(name + on) for name in ("yolactpp", "mask_rcnn"))
    for n in n_each:
        fast, slow = shortest(
            (*ours, yolactpp_seeing(n)),
            (*theirs, mask_rcnn_seeing(theirs[1], n)),
            times,
        )
        assert fast[2] == slow[2] == n
        benchmark.extra_info |= {
            f"{n} nuclei": {
                "yolactpp_fps": round(1 / fast[0], 2),
                "mask_rcnn_fps": round(1 / slow[0], 2),
                "times": round(slow[0] / fast[0], 2),
                "forward_s": [round(fast[1], 3), round(slow[1], 3)],
            }
        }
    rounds = 3 if benchmark.enabled else 1
    benchmark.pedantic(seconds, (*ours, yolactpp_seeing(n_each[-1])), rounds=rounds)
    if benchmark.enabled:
        print(f"\nyolactpp{on} beside mask_rcnn{on}: {benchmark.extra_info}")  # noqa: T201 - what a benchmark is for
