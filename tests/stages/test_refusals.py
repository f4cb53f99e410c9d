"""What can't be done is refused before anything is written, with the way out."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from small_slides import write_slide

from segpipe.config import Settings, SlideRef, settings_from
from segpipe.errors import (
    BudgetExceeded,
    MppImplausible,
    MppMissing,
    NoTissue,
    OutputNotOurs,
    OutputNotWritable,
    SettingsError,
    SlideCorrupt,
    SlideNotFound,
    SlideUnsupported,
    UnknownNetwork,
    WeightsError,
)
from segpipe.networks import weights_file
from segpipe.stages.planning import plan_slide
from segpipe.stages.slide import segment_slide


def refused(error, match, slide, out, **chosen):
    """Check that a run is refused and leaves nothing that looks finished."""
    with pytest.raises(error, match=match):
        segment_slide(slide, out, Settings(report=False, **chosen))
    assert not list(out.rglob("*.parquet")) if out.is_dir() else True
    assert not list(out.rglob("row.json")) if out.is_dir() else True


def test_no_slide(tmp_path):
    slide = SlideRef(id="none", path=tmp_path / "none.svs")
    refused(SlideNotFound, "none.svs", slide, tmp_path / "out")


def test_a_folder_that_is_no_slide(tmp_path):
    (tmp_path / "folder").mkdir()
    slide = SlideRef(id="folder", path=tmp_path / "folder")
    refused(SlideUnsupported, "folder", slide, tmp_path / "out")


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.svs").touch()
    slide = SlideRef(id="empty", path=tmp_path / "empty.svs")
    refused(SlideCorrupt, "empty", slide, tmp_path / "out")


def test_no_mpp_names_the_option(tmp_path, crop_rgb):
    path = write_slide(tmp_path / "silent.tiff", crop_rgb, mpp=None)
    slide = SlideRef(id="silent", path=path)
    refused(MppMissing, "--mpp", slide, tmp_path / "out")
    assert plan_slide(slide, Settings(mpp=0.5), tmp_path).canvas.mpp == 0.25


@pytest.mark.parametrize("mpp", [1e-4, 50.0])
def test_an_absurd_mpp(tmp_path, crop, mpp):
    refused(MppImplausible, f"{mpp:g} micrometres", crop, tmp_path / "out", mpp=mpp)


@pytest.mark.parametrize("mpp", [0.0, -0.5, float("nan")])
def test_a_nonsensical_mpp(mpp):
    with pytest.raises(SettingsError, match="mpp"):
        settings_from(None, mpp=mpp)


def test_too_coarse_a_slide(tmp_path, crop):
    refused(MppImplausible, "fine enough", crop, tmp_path / "out", mpp=2.0)


def test_no_tissue(tmp_path, white):
    slide = SlideRef(id="white", path=write_slide(tmp_path / "white.tiff", white))
    refused(NoTissue, "--tissue-mask", slide, tmp_path / "out")


def test_an_empty_mask_of_ones_own(tmp_path, crop):
    mask = tmp_path / "mask.png"
    Image.fromarray(np.zeros((49, 64), np.uint8)).save(mask)
    refused(NoTissue, "mask.png is empty", crop, tmp_path / "out", tissue_mask=mask)


def test_a_mask_of_another_aspect(tmp_path, crop):
    mask = tmp_path / "mask.png"
    Image.fromarray(np.ones((31, 64), np.uint8)).save(mask)
    refused(SettingsError, "aspect", crop, tmp_path / "out", tissue_mask=mask)


def test_an_output_that_is_a_file(tmp_path, crop):
    (tmp_path / "out").write_text("mine")
    refused(OutputNotWritable, "not a folder", crop, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_an_output_of_somebody_else(tmp_path, crop):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    refused(OutputNotOurs, "thesis.tex", crop, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_without_permission(tmp_path, crop):
    (tmp_path / "out").mkdir(mode=0o500)
    refused(OutputNotWritable, "permission", crop, tmp_path / "out")


def test_more_memory_than_there_is(tmp_path, crop):
    refused(BudgetExceeded, "--workers", crop, tmp_path / "out", workers=4096)


def test_a_network_that_is_not(tmp_path, crop):
    refused(UnknownNetwork, "hoverlite", crop, tmp_path / "out", network="alexnet")


def test_a_gpu_that_is_not(tmp_path, crop):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    refused(SettingsError, "no GPU", crop, tmp_path / "out", device="cuda")


def test_damaged_weights(tmp_path, crop):
    shipped = weights_file("hoverlite")
    for suffix in (".safetensors", ".toml"):
        shutil.copy(shipped.with_suffix(suffix), tmp_path / f"mine{suffix}")
    content = bytearray((tmp_path / "mine.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "mine.safetensors").write_bytes(content)
    refused(
        WeightsError,
        "sha256",
        crop,
        tmp_path / "out",
        weights=tmp_path / "mine.safetensors",
    )


def test_settings_name_what_is_wrong():
    with pytest.raises(SettingsError, match=r"tile_px = 12: .*64"):
        settings_from(None, tile_px=12)
    with pytest.raises(SettingsError, match="exclude each other"):
        settings_from(None, workers=2, scheduler="tcp://127.0.0.1:8786")
    with pytest.raises(SettingsError, match="colour"):
        settings_from(None, colour="red")
