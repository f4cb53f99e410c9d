"""What a network says of some annotated images, for scripts that look into it."""

import argparse
from pathlib import Path
from statistics import mean

from segpipe.metrics import scores
from segpipe.training.annotated import read_annotated
from segpipe.training.comparing import compare
from segpipe.training.finding import answer_image
from segpipe.training.recipe import shipped_recipe
from segpipe.training.scoring import Images
from segpipe.training.selecting import evenly_spread

SHOWN = ("dice", "aji", "dq", "sq", "pq", "f1_det")


def say(line):
    print(line, flush=True)  # noqa: T201 - what a script is for


def say_scores(title, images, found):
    """Print the means over images of what is found, one label map for each."""
    pairs = zip(images, found, strict=True)
    rows = [scores(compare(image, labels).counts) for (image, _), labels in pairs]
    said = "  ".join(f"{name} {mean(row[name] for row in rows):.3f}" for name in SHOWN)
    say(f"  {title:<20} {said}")


def parsed(doc):
    """Read what a script is asked for; ``doc`` is its own."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--weights", default="hoverlite")
    parser.add_argument("--images", type=int, default=8, help="of each set")
    return parser.parse_args()


def answered(asked, loaded):
    """Yield for each set images spread over it, each with what is said of it."""
    images = Images(manifest=asked.manifest, split=asked.split, sets=asked.sets)
    samples = images.select(shipped_recipe(loaded.card.name))
    for name in dict.fromkeys(sample.set for sample in samples):
        chosen = [sample for sample in samples if sample.set == name]
        spread = evenly_spread(chosen, asked.images)
        images = [read_annotated(sample) for sample in spread]
        say(f"{name}, {len(images)} images")
        yield [(image, answer_image(loaded, image)) for image in images]
