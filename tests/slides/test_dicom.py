"""DICOM slides: one slide from its folder or any of its files, whole or refused."""

import numpy as np
import pydicom
import pytest
from slide_samples import MPP, pixels, pyramid, write_dicom, write_dicom_level

from segpipe.errors import SlideCorrupt, SlideTooLarge, SlideUnsupported
from segpipe.geometry import Box
from segpipe.slides import find_slides, open_slide


@pytest.fixture
def sample(tmp_path):
    return write_dicom(tmp_path)


def changed(path, **attributes):
    header = pydicom.dcmread(path)
    for name, value in attributes.items():
        setattr(header, name, value)
    header.save_as(path)


def test_any_file_of_the_slide_stands_for_it(sample):
    box = Box(10, 20, 90, 130)
    with open_slide(sample.path) as folder, open_slide(sample.path / "1.dcm") as file:
        assert folder.levels == file.levels
        np.testing.assert_array_equal(folder.read(box, 0), file.read(box, 0))


def test_spacing_is_told_in_micrometres(sample):
    with open_slide(sample.path) as slide:
        assert slide.mpp == pytest.approx(MPP)


def test_a_folder_with_two_slides_is_refused_but_a_file_of_one_is_not(sample):
    write_dicom_level(sample.path / "other.dcm", pixels((100, 90)), MPP, "1.2.5")
    with pytest.raises(SlideUnsupported, match="2 DICOM slides"):
        open_slide(sample.path)
    with open_slide(sample.path / "other.dcm") as slide:
        assert slide.levels[0].shape == (100, 90)
    assert find_slides(sample.path.parent) == (sample.path,)


def test_label_and_macro_are_no_levels(sample):
    write_dicom_level(sample.path / "label.dcm", pixels((100, 90)), MPP, "1.2.4")
    changed(
        sample.path / "label.dcm", ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"]
    )
    with open_slide(sample.path) as slide:
        assert [lv.shape for lv in slide.levels] == [p.shape[:2] for p in pyramid()]


def test_a_folder_of_other_dicom_files_is_refused(sample):
    for file in sample.path.iterdir():
        changed(file, ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"])
    with pytest.raises(SlideUnsupported, match="none is the scan"):
        open_slide(sample.path)


def test_fluorescence_is_refused(sample):
    for file in sample.path.iterdir():
        changed(file, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    with pytest.raises(SlideUnsupported, match="1 channel"):
        open_slide(sample.path)


@pytest.mark.parametrize("n_bytes", [0, 100, 140, 700, 5000])
def test_a_file_cut_off_takes_the_whole_slide_with_it(n_bytes, sample):
    file = sample.path / "1.dcm"
    file.write_bytes(file.read_bytes()[:n_bytes])
    with pytest.raises(SlideCorrupt, match=r"1\.dcm"):
        open_slide(sample.path)


def test_compressed_pixels_without_their_end_are_refused(sample):
    file = sample.path / "0.dcm"
    header = pydicom.dcmread(file)
    header.compress(pydicom.uid.RLELossless)
    header.save_as(file)
    changed(file, ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    with open_slide(sample.path) as slide:
        np.testing.assert_array_equal(
            slide.read(Box.of_shape(slide.levels[0].shape), 0), sample.levels[0]
        )
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(SlideCorrupt, match="the mark that ends"):
        open_slide(sample.path)


def test_missing_attributes_are_named(sample):
    header = pydicom.dcmread(sample.path / "0.dcm")
    del header.TotalPixelMatrixRows
    header.save_as(sample.path / "0.dcm")
    with pytest.raises(SlideCorrupt, match="TotalPixelMatrixRows"):
        open_slide(sample.path)


def test_tiles_too_large_to_decode_are_refused(sample):
    changed(sample.path / "0.dcm", Rows=2**15, Columns=2**15)
    with pytest.raises(SlideTooLarge, match="32768 x 32768"):
        open_slide(sample.path)
