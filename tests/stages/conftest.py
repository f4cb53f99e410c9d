"""A small real slide, and what an undisturbed run makes of it."""

from pathlib import Path

import numpy as np
import pytest
from small_slides import write_slide

from segpipe import open_slide
from segpipe.config import Settings, SlideRef
from segpipe.geometry import Box
from segpipe.stages.slide import segment_slide

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cmu-1-small-region.svs"


@pytest.fixture(scope="session")
def crop_rgb():
    with open_slide(EXAMPLE) as slide:
        return slide.read(Box(1500, 900, 1990, 1540), 0)


@pytest.fixture(scope="session")
def crop(tmp_path_factory, crop_rgb):
    path = tmp_path_factory.mktemp("slides") / "crop.tiff"
    return SlideRef(id="crop", path=write_slide(path, crop_rgb))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, crop_rgb):
    """A slide of one window with tissue."""
    path = tmp_path_factory.mktemp("slides") / "tiny.tiff"
    rgb = np.ascontiguousarray(crop_rgb[:250, :200])
    return SlideRef(id="tiny", path=write_slide(path, rgb))


@pytest.fixture(scope="session")
def settings():
    return Settings(keep=frozenset({"image", "maps"}), tile_px=512, report=False)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, crop, settings):
    out = tmp_path_factory.mktemp("undisturbed")
    segment_slide(crop, out, settings)
    return out


@pytest.fixture
def white():
    return np.full((300, 400, 3), 255, np.uint8)
