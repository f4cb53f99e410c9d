"""Damage slides by the hundred and read them: ``python tests/fuzz/mutate.py --help``.

Prints a table of what came of them. What segpipe doesn't promise (a crash, a hang, more
than a GiB, an error without a name of its own) is kept in a folder, by its seed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from bombs import BOMBS
from children import FINE, Outcome, outcomes
from mutations import mutated
from specimens import Specimen, specimens
from trial import read_like_a_run


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of the slides of one kind."""

    counts: Counter[str] = field(default_factory=Counter)
    peak_bytes: int = 0
    cpu_s: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and say by the exit code whether a defect was found."""
    chosen = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="mutated-") as scratch:
        tallies, defects = run(Path(scratch), chosen)
    if chosen.json:
        say(json.dumps({name: t.counts for name, t in tallies.items()}))
    else:
        say(table(tallies))
    for name, outcome in defects:
        where = chosen.keep / name
        say(f"\n{name}: {outcome.name} (kept in {where})\n{outcome.told}")
    return 1 if defects else 0


def say(text: str) -> None:
    """Write lines to standard output."""
    sys.stdout.write(f"{text}\n")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=500, help="slides to damage")
    parser.add_argument("--seed", type=int, default=1, help="of the damage")
    parser.add_argument("--only", default="", help="specimens whose name has this")
    parser.add_argument("--children", type=int, default=2, help="processes")
    parser.add_argument("--bombs", action="store_true", help="and those made by hand")
    parser.add_argument("--json", action="store_true", help="counts, for machines")
    parser.add_argument("--keep", type=Path, default=Path("out/fuzz"), help="defects")
    return parser.parse_args(arguments)


def run(
    scratch: Path, chosen: argparse.Namespace
) -> tuple[dict[str, Tally], list[tuple[str, Outcome]]]:
    """Damage and read; return the tallies by specimen, and the defects by name."""
    sound = scratch / "sound"
    sound.mkdir()
    known = {n: s for n, s in specimens(sound).items() if chosen.only in n}
    warm_up(sound, known)
    tallies: dict[str, Tally] = defaultdict(Tally)
    defects: list[tuple[str, Outcome]] = []
    paths = chain(
        damaged(scratch, known, chosen.files, chosen.seed),
        bombs(scratch) if chosen.bombs else (),
    )
    for path, outcome in outcomes(read_like_a_run, paths, n_children=chosen.children):
        folder = scratch / path.relative_to(scratch).parts[0]
        tally = tallies[folder.name.partition("-seed")[0]]
        tally.counts[("! " if outcome.is_defect else "") + outcome.name] += 1
        tally.peak_bytes = max(tally.peak_bytes, outcome.peak_bytes)
        tally.cpu_s = max(tally.cpu_s, outcome.cpu_s)
        if outcome.is_defect:
            defects.append((folder.name, outcome))
            shutil.copytree(folder, chosen.keep / folder.name, dirs_exist_ok=True)
        shutil.rmtree(folder)
    return dict(tallies), defects


def warm_up(sound: Path, known: dict[str, Specimen]) -> None:
    """Read every sound slide, so that children are forked with all that is loaded."""
    for name, specimen in known.items():
        read_like_a_run(sound / name / specimen.entry)


def damaged(
    scratch: Path, known: dict[str, Specimen], n_files: int, seed: int
) -> Iterator[Path]:
    """Write damaged slides, each by its own seed and in its own folder."""
    names = sorted(known)
    for number in range(n_files):
        name = names[number % len(names)]
        own = f"{name}-seed{seed}.{number}"
        specimen = mutated(known[name], random.Random(own))
        folder = scratch / own
        folder.mkdir()
        path = specimen.write(folder)
        if path.exists():
            yield path
        else:
            shutil.rmtree(folder)


def bombs(scratch: Path) -> Iterator[Path]:
    """Write each bomb in its own folder."""
    for name, (_, write) in BOMBS.items():
        folder = scratch / f"bomb-{name}"
        folder.mkdir()
        yield write(folder)


def table(tallies: dict[str, Tally]) -> str:
    """Return a line per specimen: tried, read, errors by name, peak, seconds."""
    head = f"{'specimen':18} {'tried':>5} {'read':>5} {'MiB':>5} {'s':>5}  outcomes"
    lines = [head, *(_line(n, t) for n, t in sorted(tallies.items()))]
    total = Tally(
        counts=sum((t.counts for t in tallies.values()), Counter()),
        peak_bytes=max(t.peak_bytes for t in tallies.values()),
        cpu_s=max(t.cpu_s for t in tallies.values()),
    )
    return "\n".join([*lines, _line("all", total)])


def _line(name: str, tally: Tally) -> str:
    named = ", ".join(f"{n} {c}" for n, c in tally.counts.most_common() if n != FINE)
    return (
        f"{name:18} {tally.counts.total():5} {tally.counts[FINE]:5} "
        f"{tally.peak_bytes / 2**20:5.0f} {tally.cpu_s:5.1f}  {named}"
    )


if __name__ == "__main__":
    sys.exit(main())
