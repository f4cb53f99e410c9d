"""What becomes of small nuclei, and of large ones? Says whom a network fails.

    python tests/benchmarks/by_size.py --manifest CSV [--split dev] [--sets tnbc]

Predicts annotated images once and decodes them by the constants of the weights' card.
Prints, for each fifth of the annotated nuclei from the smallest to the largest, which
share is found (an IoU above 0.5), and of the rest which share is lost in the background
(over two thirds of it), merged with a neighbour that lies in the same instance (over
half of either), or neither: torn apart, or outlined badly.
"""

import numpy as np
from some_answers import answered, parsed, say

from segpipe.metrics.overlap import overlap
from segpipe.networks import load
from segpipe.training.comparing import to_shape

OUTCOMES = ("found", "lost", "merged", "neither")


def fates(annotated, decoded):
    """Return the area of each true instance, and which of the outcomes it had."""
    found = to_shape(decoded.labels, annotated.labels.shape)
    table = overlap(annotated.labels, found)
    area = table.truth_area
    is_found = _any(table.truth[table.iou > 0.5], area)
    covered = np.bincount(table.truth, weights=table.common, minlength=len(area))
    held = table.common > 0.5 * area[table.truth]
    guests = np.bincount(table.found[held], minlength=len(table.found_ids))
    is_merged = _any(table.truth[held & (guests[table.found] > 1)], area)
    fate = np.select([is_found, covered < area / 3, is_merged], [0, 1, 2], 3)
    return area, fate


def _any(at, area):
    return np.isin(np.arange(len(area)), at)


def main():
    asked = parsed(__doc__)
    loaded = load(asked.weights)
    for images in answered(asked, loaded):
        both = [fates(image, said.decode(loaded.decoding)) for image, said in images]
        area, fate = (np.concatenate(column) for column in zip(*both, strict=True))
        fifths = np.array_split(np.argsort(area, kind="stable"), 5)
        for fifth in fifths:
            shares = np.bincount(fate[fifth], minlength=4) / len(fifth)
            said = zip(OUTCOMES, shares, strict=True)
            sizes = f"{area[fifth].min()} to {area[fifth].max()} px"
            say(f"  {sizes:<16} {'  '.join(f'{n} {v:.2f}' for n, v in said)}")


if __name__ == "__main__":
    main()
