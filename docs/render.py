"""Write the parts of the docs that are facts of the code: ``make docs``.

Between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` a page holds what is printed
here; the rest of it is written by hand.
"""

import ast
import inspect
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

from segpipe.config import Settings
from segpipe.networks import card_of, networks
from segpipe.networks._loading import WEIGHTS
from segpipe.tables.schema import COLUMNS
from segpipe.tables.seams import SeamCheck
from segpipe.tables.slides import SlideRow, slides_schema

DOCS = Path(__file__).parent
SCORES = ("n_images", "dice", "aji", "pq", "dq", "sq", "f1_det", "f1_type")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def columns() -> str:
    """Return the columns of the nuclei table."""
    head = ("column", "type", "unit", "meaning")
    return table(head, ((f"`{c.name}`", c.dtype, c.unit, c.meaning) for c in COLUMNS))


def meanings(cls: type) -> dict[str, str]:
    """Return what stands below each field of a class."""
    (parsed,) = ast.parse(dedent(inspect.getsource(cls))).body
    lines = parsed.body if isinstance(parsed, ast.ClassDef) else []
    found = {}
    for field, text in pairwise(lines):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            said = inspect.cleandoc(ast.literal_eval(text.value))
            found[ast.unparse(field.target)] = " ".join(said.split())
    return {name: said.replace("``", "`") for name, said in found.items()}


def slide_columns() -> str:
    """Return the columns of ``slides.parquet``."""
    known = {
        **meanings(SlideRow),
        "nuclei_per_mm2": "Nuclei by area of tissue.",
        "slide_height_px": "Height of level 0.",
        "slide_width_px": "Width of level 0.",
        "settings": "Settings of the run, as JSON.",
        "versions": "Versions of segpipe and of what it computes with, as JSON.",
        **{f"seam_{name}": said for name, said in meanings(SeamCheck).items()},
    }
    rows = []
    for field in slides_schema():
        stage = field.name.removeprefix("seconds_")
        said = known.get(field.name, f"Seconds that stage `{stage}` took.")
        rows.append((f"`{field.name}`", str(field.type), said))
    return table(("column", "type", "meaning"), rows)


def settings() -> str:
    """Return the settings of a run, with their options on the command line."""
    said = meanings(Settings)
    rows = []
    for name, field in Settings.model_fields.items():
        default = shown(field.default)
        rows.append((f"`{name}`", f"`--{name.replace('_', '-')}`", default, said[name]))
    return table(("setting", "option", "default", "meaning"), rows)


def shown(default: Any) -> str:  # noqa: ANN401 - of any setting
    """Return a default as TOML has it; nothing for none."""
    if default is None or default == frozenset():
        return ""
    text = str(default).lower() if isinstance(default, bool) else repr(default)
    return f"`{text}`".replace("'", '"')


def scores(weights: Path) -> str:
    """Return the scores of a card as a Markdown table."""
    card = card_of(weights)
    rows = [
        [name, *(str(row.get(score, "")) for score in SCORES)]
        for name, row in sorted(card.scores.items())
    ]
    return table(("set", *SCORES), rows)


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
    page = filled(outputs.read_text(), "columns", columns())
    pages = {outputs: filled(page, "slide columns", slide_columns())}
    inputs = DOCS / "inputs.md"
    pages[inputs] = filled(inputs.read_text(), "settings", settings())
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
