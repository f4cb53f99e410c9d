"""What the source must not do, found in its syntax tree and not by its words."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    p for top in ("segpipe", "tasks", "flows") for p in (ROOT / top).rglob("*.py")
)
PICKLING = {
    "pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal",
}  # fmt: skip
UNSAFE_XML = ("xml.etree", "xml.dom", "xml.sax", "xml.parsers", "lxml")
TYPES_ONLY = {"Element"}
"""Names of unsafe parsers' modules that only annotate."""
RUNNING = {
    "eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load",
    "pd.read_pickle", "pandas.read_pickle", "tarfile.open", "shutil.unpack_archive",
}  # fmt: skip
MUST_SAY = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
}
"""Calls that run code unless an argument says not to."""


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, ""
        if isinstance(node, ast.ImportFrom):
            for name in node.names:
                yield node.module or "", name.name


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {k.arg: k.value for k in node.keywords}


@pytest.fixture(scope="module")
def trees():
    return {path.relative_to(ROOT).as_posix(): parsed(path) for path in SOURCES}


def test_there_is_source_to_look_at(trees):
    assert len(trees) > 150


def used_of_pickle(tree):
    """Yield what is taken of modules that unpickle; their errors may be caught."""
    for module, name in imported(tree):
        if module.split(".")[0] in PICKLING and (name or module != "pickle"):
            yield name or module
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle":
            yield node.attr


def test_nothing_is_unpickled(trees):
    found = {
        (path, name)
        for path, tree in trees.items()
        for name in used_of_pickle(tree)
        if name != "UnpicklingError"
    }
    assert found == set()


@pytest.mark.parametrize(("call", "argument"), MUST_SAY.items())
def test_what_could_unpickle_is_told_not_to(trees, call, argument):
    name, value = argument
    found = [
        (path, name in keywords and ast.literal_eval(keywords[name]) is value)
        for path, tree in trees.items()
        for function, keywords in calls(tree)
        if function == call
    ]
    assert found, f"no {call} any more: take the line away"
    assert [path for path, is_told in found if not is_told] == []


def test_no_text_is_run_as_code_and_no_archive_unpacked(trees):
    found = {
        (path, function)
        for path, tree in trees.items()
        for function, _ in calls(tree)
        if function in RUNNING
    }
    assert found == set()


def test_no_command_goes_through_a_shell(trees):
    found = {
        (path, function)
        for path, tree in trees.items()
        for function, keywords in calls(tree)
        if "shell" in keywords and function.startswith("subprocess.")
    }
    assert found == set()


def test_xml_is_parsed_by_defusedxml_only(trees):
    found = {
        (path, module, name)
        for path, tree in trees.items()
        for module, name in imported(tree)
        if module.startswith(UNSAFE_XML) and name not in TYPES_ONLY
    }
    assert found == set()


def test_ruff_looks_for_what_bandit_knows():
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "ALL" in rules["select"] or "S" in rules["select"]
    assert not [rule for rule in rules["ignore"] if rule.startswith("S")]
    for pattern, ignored in rules["per-file-ignores"].items():
        assert pattern.startswith("tests/") or not [r for r in ignored if r[0] == "S"]
