r"""Score weights that ship on every annotated set and write that into their card.

::

    python docs/score_weights.py --manifest data/manifest.csv --out out/scores
    make docs

The second command writes the card's scores into the weights' page. What each set's
evaluation leaves behind, a page with the best and worst images included, is under
``--out``.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contest.scoring import SCORED

from segpipe.networks import weights_file
from segpipe.training.export import annotate_card
from segpipe.training.scoring import Images, score_network

SETS: Mapping[str, tuple[str, str]] = {
    **SCORED,
    "dsb2018-dev": ("dsb2018", "dev"),
    "nuinsseg-dev": ("nuinsseg", "dev"),
    "tnbc-dev": ("tnbc", "dev"),
}
"""Set and split in the manifest, by what the card calls it."""
KEPT = (
    "n_images",
    "dice",
    "aji",
    "aji_plus",
    "dq",
    "sq",
    "pq",
    "f1_det",
    "ap50",
    "map",
    "f1_type",
)


def kept(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores that a card holds; those that have no value are left out."""
    found = {name: scores.get(name) for name in KEPT}
    return {name: round(v, 4) for name, v in found.items() if v is not None}


def main() -> None:
    """Score, set by set, and write the card."""
    parser = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--network", default="hoverlite", help="name of the weights")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/scores"))
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    scores = {}
    for title, (name, split) in SETS.items():
        images = Images(manifest=given.manifest, split=split, sets={name})
        found = score_network(
            given.network, images, given.out / title, device=given.device
        )
        scores[title] = kept(found[name])
        print(title, scores[title], flush=True)  # noqa: T201 - what it is for
    annotate_card(weights_file(given.network), scores=scores)


if __name__ == "__main__":
    main()
