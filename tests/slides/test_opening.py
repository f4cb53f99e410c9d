"""Opening and finding slides: every bad input gets one clear sentence."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from slide_samples import SAMPLES, write_dicom, write_omezarr, write_png, write_tiff

import segpipe
from segpipe.errors import (
    SegpipeError,
    SettingsError,
    SlideCorrupt,
    SlideError,
    SlideNotFound,
    SlideNotReadable,
    SlideUnsupported,
)
from segpipe.slides import find_slides, open_slide, reader_of, slide_fingerprint

is_root = hasattr(os, "geteuid") and os.geteuid() == 0


def test_a_missing_slide_is_named_with_its_folder(tmp_path):
    with pytest.raises(SlideNotFound, match=r"no file or folder a\.svs in") as caught:
        open_slide(tmp_path / "a.svs")
    assert str(tmp_path) in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(SlideNotFound, match=r"no folder .*gone"):
        open_slide(tmp_path / "gone" / "a.svs")


def test_a_link_into_nowhere_is_named(tmp_path):
    (tmp_path / "a.svs").symlink_to(tmp_path / "gone.svs")
    with pytest.raises(SlideNotFound, match=r"points to .*gone\.svs"):
        open_slide(tmp_path / "a.svs")


@pytest.mark.skipif(is_root, reason="root may read everything")
@pytest.mark.parametrize("name", ["sample.tif", "."])
def test_a_slide_without_permission_is_not_readable(name, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    write_tiff(folder)
    (folder / name).chmod(0)
    try:
        with pytest.raises(SlideNotReadable, match="read permission"):
            open_slide(folder / "sample.tif")
    finally:
        (folder / name).chmod(0o700)


def test_an_empty_file_says_so(tmp_path):
    (tmp_path / "a.svs").touch()
    with pytest.raises(SlideCorrupt, match="0 bytes"):
        open_slide(tmp_path / "a.svs")


def test_text_under_the_name_of_a_slide_is_damaged(tmp_path):
    (tmp_path / "a.svs").write_text("not a slide")
    with pytest.raises(SlideCorrupt, match=r"named \.svs.*b'not a sl'"):
        open_slide(tmp_path / "a.svs")


def test_an_unknown_file_is_told_what_was_looked_for(tmp_path):
    (tmp_path / "a.docx").write_text("a letter")
    with pytest.raises(SlideUnsupported, match=r"DICOM.*Aperio SVS"):
        open_slide(tmp_path / "a.docx")


def test_a_folder_that_is_no_slide_is_told_what_was_looked_for(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(SlideUnsupported, match=r"folder of 1 entries.*DICOM.*OME-Zarr"):
        open_slide(tmp_path)


def test_a_device_is_no_slide():
    with pytest.raises(SlideUnsupported, match="no slide that segpipe knows"):
        open_slide("/dev/null")


def test_an_unknown_reader_is_told_the_known_ones(tmp_path):
    sample = write_png(tmp_path)
    with pytest.raises(SettingsError, match="tiff"):
        open_slide(sample.path, reader="tif")


def test_the_suffix_does_not_decide(tmp_path):
    sample = write_png(tmp_path)
    path = sample.path.rename(tmp_path / "a.svs")
    assert reader_of(path).name == "image"


@pytest.mark.parametrize("name", SAMPLES)
def test_damage_never_lets_another_reader_have_a_go(name, tmp_path):
    sample = SAMPLES[name](tmp_path)
    files = [p for p in (sample.path, *sample.path.rglob("*")) if p.is_file()]
    file = max(files, key=lambda p: p.stat().st_size)
    file.write_bytes(file.read_bytes()[:400])
    assert reader_of(sample.path).name in {name, "tiff"}


def test_errors_of_libraries_are_kept_as_the_cause(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(write_png(tmp_path).path.read_bytes()[:2000])
    with pytest.raises(SlideCorrupt) as caught:
        open_slide(path)
    assert caught.value.__cause__ is not None


def test_errors_survive_being_sent_to_another_process(tmp_path):
    with pytest.raises(SlideError) as caught:
        open_slide(tmp_path / "gone.svs")
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert isinstance(copy, SegpipeError)
    assert str(copy) == str(caught.value)


def test_the_package_offers_it():
    assert segpipe.open_slide is open_slide


# Finding


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found_in(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in find_slides(folder)]


def test_slides_are_found_below_a_folder_in_order(tmp_path):
    fill(tmp_path, "b.svs", "a/c.NDPI", "a/b/d.ome.tiff", "notes.txt", "a/list.csv")
    assert found_in(tmp_path) == ["a/b/d.ome.tiff", "a/c.NDPI", "b.svs"]


def test_hidden_files_and_folders_are_skipped(tmp_path):
    fill(tmp_path, "._b.svs", ".cache/c.svs", "d.svs")
    assert found_in(tmp_path) == ["d.svs"]


def test_companions_are_part_of_their_slide(tmp_path):
    fill(tmp_path, "a.mrxs", "a/Data0001.dat", "a/picture.png")
    fill(tmp_path, "v/b.vms", "v/b_0.jpg", "w/c.jpg")
    assert found_in(tmp_path) == ["a.mrxs", "v/b.vms", "w/c.jpg"]


def test_folders_that_are_slides_count_as_one(tmp_path):
    dicom = write_dicom(tmp_path).path
    zarr = write_omezarr(tmp_path).path
    assert set(find_slides(tmp_path)) == {dicom, zarr}
    assert find_slides(dicom) == (dicom,)
    assert find_slides(zarr) == (zarr,)


def test_results_of_an_earlier_run_are_no_slides(tmp_path):
    fill(tmp_path, "a.svs", "out/ledger/run.json", "out/reports/a.png")
    fill(tmp_path, "out/stores/a.zarr/zarr.json")
    assert found_in(tmp_path) == ["a.svs"]


def test_links_are_not_followed_round_in_circles(tmp_path):
    fill(tmp_path, "a/b.svs")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert found_in(tmp_path) == ["a/b.svs"]


def test_looking_in_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SlideNotFound, match="folder gone in"):
        find_slides(tmp_path / "gone")
    (tmp_path / "a.svs").write_text("a slide")
    with pytest.raises(SlideNotFound, match="is a file"):
        find_slides(tmp_path / "a.svs")


def test_slides_beside_dicom_files_are_not_lost(tmp_path):
    folder = write_dicom(tmp_path).path
    fill(folder, "a.svs", "thumbnail.png", "b/c.ndpi")
    assert found_in(folder) == [".", "a.svs", "b/c.ndpi"]


@pytest.mark.skipif(is_root, reason="root may read everything")
def test_a_folder_that_may_not_be_read_does_not_hide_the_others(tmp_path):
    fill(tmp_path, "a/a.svs", "b/b.svs")
    (tmp_path / "a").chmod(0)
    try:
        assert found_in(tmp_path) == ["a", "b/b.svs"]
        with pytest.raises(SlideNotReadable):
            open_slide(tmp_path / "a")
    finally:
        (tmp_path / "a").chmod(0o700)


# Fingerprints


@pytest.mark.parametrize("name", SAMPLES)
def test_a_fingerprint_is_of_the_content_and_not_of_the_place(name, tmp_path):
    fingerprints = set()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        path = SAMPLES[name](tmp_path / folder).path
        if name == "dicom":  # each writing draws new identifiers
            for file in path.iterdir():
                file.write_bytes(bytes(128) + b"DICM" + file.name.encode())
        fingerprints.add(slide_fingerprint(path))
    assert len(fingerprints) == 1
    assert len(fingerprints.pop()) == 64


@pytest.mark.parametrize("at", [0, 2_500_000, 4_999_999])
def test_a_change_at_head_middle_or_tail_changes_it(at, tmp_path):
    path = tmp_path / "a.svs"
    content = np.zeros(5_000_000, np.uint8)
    path.write_bytes(content.tobytes())
    before = slide_fingerprint(path)
    content[at] = 1
    path.write_bytes(content.tobytes())
    assert slide_fingerprint(path) != before


def test_a_change_of_size_changes_it(tmp_path):
    path = tmp_path / "a.svs"
    path.write_bytes(bytes(5_000_000))
    before = slide_fingerprint(path)
    path.write_bytes(bytes(5_000_001))
    assert slide_fingerprint(path) != before


def test_all_files_of_a_slide_count(tmp_path):
    path = write_omezarr(tmp_path).path
    before = slide_fingerprint(path)
    (path / "1" / "zarr.json").rename(path / "1" / "zarr.jso")
    assert slide_fingerprint(path) != before


def test_a_dicom_file_stands_for_its_folder(tmp_path):
    path = write_dicom(tmp_path).path
    one, other = (slide_fingerprint(path / name) for name in ("0.dcm", "1.dcm"))
    assert one == other


def test_the_companion_folder_counts(tmp_path):
    fill(tmp_path, "a/Data0001.dat")
    (tmp_path / "a.mrxs").write_bytes(b"picture")
    before = slide_fingerprint(tmp_path / "a.mrxs")
    (tmp_path / "a" / "Data0001.dat").write_bytes(b"pixels")
    assert slide_fingerprint(tmp_path / "a.mrxs") != before
