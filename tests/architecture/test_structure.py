"""The shape of the code, as CONTRIBUTING asks for it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for layer in ("flows", "tasks", "segpipe")
    for path in (ROOT / layer).rglob("*.py")
)
BANNED = {"wsi", "img", "info", "utils", "magnification", "kwargs", "params"}
EMPTY_NAMES = {"utils", "helpers", "common", "misc", "manager", "base", "engine"}


def named(path):
    return str(path.relative_to(ROOT))


def functions():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                documented = ast.get_docstring(node) is not None
                body = node.body[1:] if documented else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                yield f"{named(path)}:{node.name}", lines


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_a_file_says_why_it_exists_and_is_short(path):
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 400
    assert path.stem not in EMPTY_NAMES


def test_functions_are_short():
    lengths = sorted(lines for _, lines in functions())
    assert [name for name, lines in functions() if lines > 60] == []
    assert lengths[len(lengths) // 2] <= 9
    assert lengths[int(len(lengths) * 0.9)] < 36


def names_in(path):
    """Return every name that the file defines, in lower-case words."""
    for node in ast.walk(ast.parse(path.read_text())):
        stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        if stored:
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_words_mean_one_thing(path):
    words = {word for name in names_in(path) for word in name.lower().split("_")}
    assert words & BANNED == set()


IMPORTED = ("segpipe", "segpipe.decoding.hv", "segpipe.stages.slide")


@pytest.fixture(scope="module")
def heavy_after():
    """What of the heavy packages a process has after each import, one by one."""
    code = (
        "import sys\nfrom importlib import import_module\n"
        "heavy = {'prefect', 'distributed', 'dask', 'torch'}\n"
        "for name in sys.argv[1:]:\n"
        "    import_module(name)\n"
        "    print(name, *sorted(heavy & set(sys.modules)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, *IMPORTED],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in found.stdout.splitlines()]
    return {name: set(heavy) for name, *heavy in lines}


@pytest.mark.parametrize("imports", IMPORTED)
def test_the_library_starts_neither_prefect_nor_dask(imports, heavy_after):
    assert heavy_after[imports] <= {"torch"}


def test_importing_segpipe_does_not_import_torch(heavy_after):
    assert "torch" not in heavy_after["segpipe"]


def test_the_docs_hold_the_facts_of_the_code():
    found = subprocess.run(
        [sys.executable, "-c", "import render; print(render.stale())"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]", "run make docs"


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_to_what_is_there(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []
