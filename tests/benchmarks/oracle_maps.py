"""What would a true map in place of a predicted one bring? Says what to work on.

    python tests/benchmarks/oracle_maps.py --manifest CSV [--split dev] [--sets tnbc]

Predicts annotated images once and decodes them by the constants of the weights' card:
as predicted, with one map after the other taken from the annotation, and with all of
them, which is the loss of the resolution and the decoder alone. Prints means over
images.
"""

import argparse
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from decoder_quality import say

from segpipe.metrics import scores
from segpipe.networks import load
from segpipe.networks._inference import quantise
from segpipe.training.annotated import at_mpp, read_annotated
from segpipe.training.comparing import compare
from segpipe.training.finding import answer_image
from segpipe.training.recipe import shipped_recipe
from segpipe.training.scoring import Images

SHOWN = ("dice", "aji", "dq", "sq", "pq", "f1_det")


def true_maps(loaded, annotated):
    """Return the maps that decoding looks at, as the annotation would have them."""
    labels = at_mpp(annotated, loaded.card.mpp).labels
    targets = loaded.network.targets(labels, None, 0)
    return {
        head.name: quantise(head, torch.from_numpy(targets[head.name])[None])[0]
        for head in loaded.network.heads(0)
    }


def mixtures(predicted, true):
    """Return what is decoded, by what it is called."""
    one_true = {f"true {name}": predicted | {name: true[name]} for name in true}
    return {"as predicted": predicted, **one_true, "all true": predicted | true}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--weights", default="hoverlite")
    parser.add_argument("--images", type=int, default=8, help="of each set")
    asked = parser.parse_args()
    loaded = load(asked.weights)
    images = Images(manifest=asked.manifest, split=asked.split, sets=asked.sets)
    samples = images.select(shipped_recipe(loaded.card.name))
    for name in dict.fromkeys(sample.set for sample in samples):
        chosen = [sample for sample in samples if sample.set == name]
        at = np.linspace(0, len(chosen) - 1, min(asked.images, len(chosen)))
        rows = {}
        for index in at.round().astype(int):
            annotated = read_annotated(chosen[index])
            predicted = answer_image(loaded, annotated).maps
            true = true_maps(loaded, annotated)
            for title, maps in mixtures(predicted, true).items():
                found = loaded.network.decode(maps, loaded.decoding)
                row = scores(compare(annotated, found).counts)
                rows.setdefault(title, []).append(row)
        say(f"{name}, {len(at)} images")
        for title, ones in rows.items():
            said = "  ".join(f"{n} {mean(row[n] for row in ones):.3f}" for n in SHOWN)
            say(f"  {title:<14} {said}")


if __name__ == "__main__":
    main()
