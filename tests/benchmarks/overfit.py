"""Can a network learn one image by heart? Targets, loss and decoding put to the test.

    python tests/benchmarks/overfit.py unet:small [--steps 300] [--side 128]

Trains on one annotated tile at the network's resolution, without augmentation, and
prints the loss and the PQ of what it decodes of that same tile, until the PQ is 0.9.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from segpipe.arrays import to_planes
from segpipe.decoding.masks import paint
from segpipe.geometry import Box
from segpipe.metrics import count, scores
from segpipe.mirroring import mirrored
from segpipe.networks import Detector, network
from segpipe.networks._inference import activate, quantise
from segpipe.networks._layers import centred
from segpipe.training.annotated import at_mpp, read_annotated
from segpipe.training.manifest import Sample
from segpipe.training.pretrained import load_encoder

ANNOTATED = Path(__file__).parents[1] / "annotated"


def say(line):
    print(line, flush=True)  # noqa: T201 - what a script is for


def tile(name, mpp, side):
    """Return planes and labels of the middle of an annotated tile."""
    sample = Sample(
        set="tnbc",
        id=name,
        split="train",
        image=ANNOTATED / f"{name}.jpg",
        labels=ANNOTATED / f"{name}.png",
        mpp=0.25,
    )
    whole = at_mpp(read_annotated(sample), mpp)
    at = [(length - side) // 2 for length in whole.labels.shape]
    rows, cols = (slice(start, start + side) for start in at)
    return to_planes(whole.image[rows, cols]), whole.labels[rows, cols]


def lost_px(chosen):
    """Return how much smaller than its input the output is, on each side."""
    if isinstance(chosen, Detector):
        return 0
    side = chosen.window.input_px
    with torch.device("meta"):
        raw = chosen.build(0)(torch.empty(1, 3, side, side))[0]
    return (side - raw.shape[-1]) // 2


def fed(chosen, planes, labels, margin):
    """Return the batch of the tile with its margin mirrored, and its targets."""
    core = Box.of_shape(labels.shape)
    box = core.grown(margin)
    wide = np.ascontiguousarray(mirrored(labels, core, box))
    valid = np.pad(np.ones(labels.shape, np.float32), margin)
    targets = {**chosen.targets(wide, None, 0), "valid": valid}
    return (
        torch.from_numpy(mirrored(planes, core, box)[None]).float(),
        {
            n: torch.from_numpy(np.ascontiguousarray(t))[None]
            for n, t in targets.items()
        },
    )


@torch.inference_mode()
def decoded(chosen, module, batch, side):
    """Return the label map that the network makes of the tile."""
    module.eval()
    outputs = module(batch)
    module.train()
    if isinstance(chosen, Detector):
        found = chosen.detect(module, outputs, chosen.decoding())[0]
        return paint(found, Box(0, 0, side, side)).labels
    maps = {
        head.name: quantise(head, activate(head, centred(raw, (side, side))))[0]
        for head, raw in zip(chosen.heads(0), outputs, strict=True)
    }
    return chosen.decode(maps, chosen.decoding())


def overfit(chosen, options):
    """Train and report until the PQ is reached; return the last."""
    torch.manual_seed(0)
    margin = lost_px(chosen)
    output = chosen.window.input_px - 2 * margin
    side = options.side - (options.side - output) % chosen.step_px
    planes, labels = tile(options.tile, chosen.mpp, side)
    batch, targets = fed(chosen, planes, labels, margin)
    module = chosen.build(0).to(memory_format=torch.channels_last).train()
    if options.encoder:
        load_encoder(module, options.encoder)
    optimizer = torch.optim.AdamW(module.parameters(), lr=options.rate)
    say(f"{chosen.name}: {side} px, {len(np.unique(labels)) - 1} nuclei")
    started, pq = time.perf_counter(), 0.0
    for step in range(1, options.steps + 1):
        outputs = module(batch)
        terms = chosen.loss_terms(module, outputs, targets)
        optimizer.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
        optimizer.step()
        if step % options.every == 0 or step == options.steps:
            row = scores(count(labels, decoded(chosen, module, batch, side)))
            pq = row["pq"]
            losses = "  ".join(f"{n} {float(t.detach()):.4f}" for n, t in terms.items())
            seconds = time.perf_counter() - started
            reached = "  ".join(f"{n} {row[n]:.3f}" for n in ("dice", "dq", "pq"))
            say(f"step {step}  {seconds:.0f} s  {losses}  {reached}")
            if pq >= options.pq:
                break
    return pq


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", type=network)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--side", type=int, default=256, help="pixels of the tile")
    parser.add_argument("--tile", default="09_1", choices=("09_1", "10_1"))
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--pq", type=float, default=0.9, help="stop at this PQ")
    parser.add_argument("--encoder", help="package or file of ImageNet weights")
    options = parser.parse_args()
    raise SystemExit(overfit(options.network, options) < options.pq)


if __name__ == "__main__":
    main()
