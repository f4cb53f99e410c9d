"""How many instances of each mean probability are nuclei? Says where to draw a line.

    python tests/benchmarks/how_sure.py --manifest CSV [--split dev] [--sets tnbc]

Predicts annotated images once and decodes them by the constants of the weights' card.
Prints which share of all instances in each band of the probability are nuclei (an IoU
above 0.5), and what one least probability after the other comes to.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from some_answers import answered, parsed, say, say_scores

from segpipe.labels.probable import BOUNDS
from segpipe.metrics.overlap import overlap
from segpipe.networks import load
from segpipe.training.comparing import mean_prob, to_shape

BANDS = (0.0, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


def judged(annotated, decoded):
    """Return how probable each instance is, and whether it is a nucleus."""
    found = to_shape(decoded.labels, annotated.labels.shape)
    table = overlap(annotated.labels, found)
    right = np.isin(table.found_ids, table.found_ids[table.found[table.iou > 0.5]])
    ids = np.unique(decoded.labels[decoded.labels > 0])
    sure = mean_prob(decoded.labels, decoded.maps["prob"])
    return sure[np.isin(ids, table.found_ids)], right


def main():
    asked = parsed(__doc__)
    loaded = load(asked.weights)
    every = replace(loaded.decoding, min_prob=0.0)
    for images in answered(asked, loaded):
        both = [judged(image, said.decode(every)) for image, said in images]
        sure, right = (np.concatenate(column) for column in zip(*both, strict=True))
        for low, high in pairwise(BANDS):
            inside = (sure > low) & (sure <= high)
            share = f"{right[inside].mean():.2f}" if inside.any() else "-"
            say(f"  {low:.2f} to {high:.2f}: {inside.sum():>5} found, {share} nuclei")
        for line in BOUNDS:
            drawn = replace(every, min_prob=line)
            found = [said.decode(drawn).labels for _, said in images]
            say_scores(f"at least {line:g}", images, found)


if __name__ == "__main__":
    main()
