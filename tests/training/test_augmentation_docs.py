"""The page on augmentation shows every kind, as the code draws it."""

import sys
from dataclasses import fields
from pathlib import Path

import pytest

from segpipe.training.augment import Augmentation, CopyPaste

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "augmentation.md").read_text(encoding="utf-8")


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import render_augmentation  # noqa: PLC0415

    yield render_augmentation
    sys.modules.pop("render_augmentation")


def test_every_setting_is_on_the_page_with_its_default():
    for one in fields(Augmentation):
        if one.name != "copy_paste":
            assert f"`{one.name} = {one.default}`" in PAGE, one.name
    for one in fields(CopyPaste):
        assert f"| `{one.name}` | {one.default} |" in PAGE, one.name


def test_every_kind_has_a_picture_and_a_row(script):
    shown = {name for settings in script.KINDS.values() for name in settings}
    assert shown == {one.name for one in fields(Augmentation)}
    for kind in script.KINDS:
        assert f"| {kind} |" in PAGE


def test_the_picture_is_what_the_code_draws(script):
    stale = "run python docs/render_augmentation.py"
    picture = script.render()
    assert script.difference(picture) < 1, stale
    rest = script.TITLE + script.SIDE * script.ZOOM + script.GAP
    picture[rest : 2 * rest, : rest - script.TITLE] = picture[
        :rest, : rest - script.TITLE
    ]
    assert script.difference(picture) > 1, "one panel that is another is seen"
