r"""Compare all networks: train each alike, score, time, and write docs/networks.md.

::

    python docs/compare_networks.py --manifest data/manifest.csv --minutes 60 \
        --device cuda --batch 16 --only all

trains what has no row with these settings, scores it, times all, draws the picture and
writes the page. ``train``, ``score``, ``time``, ``picture`` or ``page`` does one of it.
Rows lie in docs/networks.json, weights, checkpoints and logs under ``--out``; a run
that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping
from pathlib import Path

from contest.budget import (
    LEAST_STEPS,
    Budget,
    planned_steps,
    recipe_of,
    train_within,
    use_one_thread,
)
from contest.contenders import LIGHT, PUBLISHED, Contender, chosen
from contest.page import PAGE, rendered
from contest.picture import write_picture
from contest.rows import (
    DEV_IMAGES,
    device_title,
    folder_of,
    read_rows,
    settings_of,
    weights_of,
    write_row,
)
from contest.scoring import Scores, calibrated, scored
from contest.speed import Entrant, fresh, short, size_of, timed

from segpipe.networks import load, network


def train(options: Namespace) -> None:
    """Train and score each contender that has no row with these settings."""
    budget = Budget(minutes=options.minutes, device=options.device, batch=options.batch)
    for one in chosen(options.only):
        train_one(one, budget, options)


def train_one(contender: Contender, budget: Budget, options: Namespace) -> None:
    """Train and score a contender, unless its row is there with these settings."""
    settings = settings_of(contender, budget) | {DEV_IMAGES: options.dev_images}
    if read_rows().get(contender.name, {}).get("settings") == settings:
        say(f"{contender.name}: there already")
        return
    folder = folder_of(contender, budget, options.out)
    steps = planned_steps(contender, budget, options.manifest, folder)
    say(f"{contender.name}: {steps} steps")
    row = {"network": contender.network, "settings": settings, "steps": steps}
    if steps < LEAST_STEPS:
        write_row(contender.name, **row)
        return
    weights, spent_s = train_within(contender, budget, options.manifest, folder)
    say(f"{contender.name}: trained in {spent_s:.0f} s")
    scores = scores_of(contender, weights, options)
    write_row(contender.name, **row, spent_s=round(spent_s, 1), scores=scores)


def score(options: Namespace) -> None:
    """Score trained contenders again, as after a change to decoding."""
    for one in chosen(options.only):
        weights = weights_of(one, options.out)
        if weights is not None:
            write_row(one.name, scores=scores_of(one, weights, options))


def scores_of(contender: Contender, weights: Path, options: Namespace) -> Scores:
    """Choose the constants of a contender's decoder, and score it."""
    device = options.device
    recipe = recipe_of(contender, Budget(minutes=0), options.manifest, 1)
    calibrated(weights, recipe, n_images=options.dev_images, device=device)
    scores = scored(weights, recipe, weights.parent, device=device)
    say(f"{contender.name}: {scores}")
    return scores


def time(options: Namespace) -> None:
    """Measure size and speed of all that is in the main table, in turns."""
    entrants = {}
    for one in (*LIGHT, *PUBLISHED):
        weights = weights_of(one, options.out)
        loaded = (
            fresh(one.network, device=options.device)
            if weights is None
            else load(weights, device=options.device)
        )
        entrants[one.name] = Entrant(loaded=loaded, trained=weights is not None)
    title = device_title(options.device)
    for name, best in timed(entrants).items():
        rest_s = None if best.rest_s is None else short(best.rest_s)
        cost = {"forward_s": short(best.forward_s), "rest_s": rest_s}
        speed = read_rows().get(name, {}).get("speed", {}) | {title: cost}
        size = size_of(network(entrants[name].loaded.network.name))
        write_row(name, size=size, speed=speed)
        say(f"{name}: {size} {cost}")


def picture(options: Namespace) -> None:
    """Draw what the trained networks of the main table find."""
    found = {one.name: weights_of(one, options.out) for one in (*LIGHT, *PUBLISHED)}
    write_picture(
        {
            name: load(path, device=options.device)
            for name, path in found.items()
            if path
        }
    )


def page(_: Namespace) -> None:
    """Write the tables of the page."""
    PAGE.write_text(rendered(), encoding="utf-8")


PARTS: Mapping[str, Callable[[Namespace], None]] = {
    "train": train,
    "score": score,
    "time": time,
    "picture": picture,
    "page": page,
}
WHOLE = ("train", "time", "picture", "page")
"""What is done if no part is named; ``train`` scores what it has trained."""


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def options_of(arguments: list[str]) -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=PARTS, help="default: all of them")
    parser.add_argument("--manifest", type=Path, default=Path("data/manifest.csv"))
    parser.add_argument(
        "--minutes", type=float, default=3, help="for each network's steps"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, default=4, help="patches a step")
    parser.add_argument(
        "--dev-images", type=int, default=4, help="to choose decoder constants on"
    )
    parser.add_argument(
        "--only", nargs="+", default=["light"], metavar="NAME", help="names or groups"
    )
    parser.add_argument("--out", type=Path, default=Path("out/networks"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    given = options_of(sys.argv[1:])
    use_one_thread()
    for part in [given.part] if given.part else WHOLE:
        PARTS[part](given)
