"""Names from outside stay names: no id, link or manifest leads out of a folder."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.manifests import read_manifest
from segpipe.config import SlideRef
from segpipe.errors import SettingsError
from segpipe.stages.naming import slide_id_of
from segpipe.stores.durable import remove, write_text
from segpipe.stores.layout import Layout

PLACES = ("store", "table", "quarantine", "report", "overlay", "ledger", "scratch")


@pytest.mark.parametrize(
    "name",
    ["..", "../a", "/etc/passwd", "a/../../b", "a\\b", ".ssh", "", "a\0", "a\n", "-rf"],
)
def test_an_id_that_leads_elsewhere_is_refused(name, tmp_path):
    with pytest.raises(ValidationError):
        SlideRef(id=name, path=tmp_path)


@given(
    name=st.text(min_size=1).filter(lambda text: "/" not in text and "\0" not in text)
)
def test_every_file_name_makes_an_id_that_stays_inside(name, tmp_path_factory):
    out = tmp_path_factory.getbasetemp()
    slide = SlideRef(id=slide_id_of(out / name), path=out / name)
    layout = Layout(out)
    for place in PLACES:
        path = getattr(layout, place)(slide.id)
        assert os.path.normpath(path) == str(path)
        assert path.is_relative_to(out)


def test_a_manifest_can_not_name_an_id_outside(tmp_path):
    manifest = tmp_path / "slides.csv"
    manifest.write_text("path,slide_id\na.svs,../../home/me/.bashrc\n")
    with pytest.raises(SettingsError, match=r"line 2: slide_id '\.\./\.\./home"):
        read_manifest(manifest)


def test_a_link_in_the_results_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    link = tmp_path / "out" / "quarantine" / "a.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    write_text(link, "new")
    assert victim.read_text() == "mine"
    assert not link.is_symlink()
    assert link.read_text() == "new"


def test_a_link_to_a_folder_is_removed_and_not_what_it_points_to(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").touch()
    link = tmp_path / "out.zarr"
    link.symlink_to(victim)
    remove(link)
    assert (victim / "file").exists()
