"""Is our decoding as good as the published one on maps that a network predicts?

    python tests/benchmarks/decoder_quality.py --manifest CSV [--images 12]

Predicts annotated images once, decodes the maps by the constants of the weights' card
and by the published algorithm, with its filter as published and scaled to the network's
resolution, and prints means over images.
"""

import argparse
from pathlib import Path
from statistics import mean

import numpy as np
from published import published_decoding

from segpipe.metrics import scores
from segpipe.networks import load
from segpipe.training.annotated import read_annotated
from segpipe.training.comparing import compare
from segpipe.training.finding import answer_image
from segpipe.training.recipe import shipped_recipe
from segpipe.training.scoring import Images

SHOWN = ("dice", "aji", "pq", "f1_det")


def say(line):
    print(line, flush=True)  # noqa: T201 - what a script is for


def decoders(loaded):
    """Return each way to decode, by what it is called."""
    return {
        "ours": lambda maps: loaded.network.decode(maps, loaded.decoding),
        "published, 21 taps": lambda maps: published(maps, 21),
        "published, 11 taps": lambda maps: published(maps, 11),
    }


def published(maps, ksize):
    return published_decoding(maps["prob"], maps["hv"], ksize).astype(np.int32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--weights", default="hoverlite")
    parser.add_argument("--images", type=int, default=12, help="of each set")
    asked = parser.parse_args()
    loaded = load(asked.weights)
    recipe = shipped_recipe(loaded.card.name)
    samples = Images(manifest=asked.manifest, split=asked.split).select(recipe)
    for name in dict.fromkeys(sample.set for sample in samples):
        chosen = [sample for sample in samples if sample.set == name]
        at = np.linspace(0, len(chosen) - 1, min(asked.images, len(chosen)))
        images = [read_annotated(chosen[index]) for index in at.round().astype(int)]
        maps = [answer_image(loaded, image).maps for image in images]
        say(f"{name}, {len(images)} images")
        for decoder, decode in decoders(loaded).items():
            rows = [
                scores(compare(image, decode(found)).counts)
                for image, found in zip(images, maps, strict=True)
            ]
            said = "  ".join(
                f"{score} {mean(row[score] for row in rows):.3f}" for score in SHOWN
            )
            say(f"  {decoder:<20} {said}")


if __name__ == "__main__":
    main()
