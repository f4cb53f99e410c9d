"""A small real slide, a Prefect server for tests, and two real workers."""

from pathlib import Path

import pytest
from small_slides import write_slide

from segpipe import open_slide
from segpipe.config import Settings, SlideRef
from segpipe.geometry import Box
from segpipe.stages.slide import segment_slide
from tasks.clusters import workers

EXAMPLE = Path(__file__).parents[2] / "examples" / "cmu-1-small-region.svs"


@pytest.fixture(scope="session")
def settings():
    return Settings(
        keep=frozenset({"image", "maps"}), tile_px=512, device="cpu", workers=2
    )


@pytest.fixture(scope="session")
def slide(tmp_path_factory):
    """A cut of the example, of two windows and six tiles."""
    with open_slide(EXAMPLE) as opened:
        rgb = opened.read(Box(1500, 900, 1990, 1540), 0)
    path = tmp_path_factory.mktemp("slides") / "cut.tif"
    return SlideRef(id="cut", path=write_slide(path, rgb))


@pytest.fixture(scope="session")
def serial(tmp_path_factory, slide, settings):
    """What the builtin map makes of the slide."""
    out = tmp_path_factory.mktemp("serial")
    segment_slide(slide, out, settings)
    return out


@pytest.fixture(scope="session")
def server():
    """Prefect's test server; importing it takes seconds, so only who uses it does."""
    from prefect.settings import (  # noqa: PLC0415
        PREFECT_API_BLOCKS_REGISTER_ON_START,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415

    lean = {PREFECT_API_BLOCKS_REGISTER_ON_START: False}
    with temporary_settings(lean), prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def scheduler(settings):
    """Address of two workers; flows that are run meanwhile use them."""
    with workers(settings) as address:
        yield address
