"""Write the parts of the docs that are facts of the code: ``make docs``.

Between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` a page holds what is printed
here; the rest of it is written by hand.
"""

import re
from pathlib import Path

from segpipe.networks import card_of, networks
from segpipe.networks._loading import WEIGHTS
from segpipe.tables.schema import COLUMNS

DOCS = Path(__file__).parent
SCORES = ("n_images", "dice", "aji", "pq", "dq", "sq", "f1_det", "f1_type")


def columns() -> str:
    """Return the columns of the nuclei table as a Markdown table."""
    rows = [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.meaning} |" for c in COLUMNS]
    return "\n".join(["| column | type | unit | meaning |", "|---|---|---|---|", *rows])


def scores(weights: Path) -> str:
    """Return the scores of a card as a Markdown table."""
    card = card_of(weights)
    head = ["set", *SCORES]
    rows = [
        [name, *(str(row.get(score, "")) for score in SCORES)]
        for name, row in sorted(card.scores.items())
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def facts(weights: Path) -> str:
    """Return what a card says of its weights as a Markdown list."""
    card = card_of(weights)
    constants = ", ".join(f"`{name} = {v}`" for name, v in card.decoding.items())
    entries = {
        "Paper": networks()[card.network].paper,
        "Resolution": f"{card.mpp} µm per pixel",
        "Types": ", ".join(card.types) or "none",
        "Size": f"{weights.stat().st_size / 1e6:.1f} MB, sha256 `{card.sha256[:16]}…`",
        "Licence": card.licence,
        "Trained on": card.data,
        "Recipe": card.recipe,
        "Decoding": constants or "the decoder's defaults",
    }
    return "\n".join(f"- **{name}**: {value}" for name, value in entries.items())


def filled(page: str, name: str, content: str) -> str:
    """Return a page with the part of a name replaced."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", page)


def rendered() -> dict[Path, str]:
    """Return every page with facts in it, as it should be."""
    outputs = DOCS / "outputs.md"
    pages = {outputs: filled(outputs.read_text(), "columns", columns())}
    for weights in sorted(WEIGHTS.glob("*.safetensors")):
        path = DOCS / "models" / f"{weights.stem}.md"
        page = filled(path.read_text(), "facts", facts(weights))
        pages[path] = filled(page, "scores", scores(weights))
    return pages


def stale() -> list[str]:
    """Return the names of pages that ``make docs`` would change."""
    return [path.name for path, page in rendered().items() if path.read_text() != page]


if __name__ == "__main__":
    for path, page in rendered().items():
        path.write_text(page)
