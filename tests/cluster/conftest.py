"""A small real slide, and certificates."""

import subprocess
from pathlib import Path

import pytest
from dask_processes import CHOICES, table_bytes
from small_slides import write_slide

from segpipe import open_slide
from segpipe.config import Settings, SlideRef
from segpipe.geometry import Box
from segpipe.stages.slide import segment_slide
from tasks.clusters import _cluster

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "clusters" / "certificates.sh"


@pytest.fixture(scope="session")
def slide(tmp_path_factory):
    with open_slide(ROOT / "examples" / "cmu-1-small-region.svs") as opened:
        rgb = opened.read(Box(1500, 900, 1990, 1540), 0)
    path = tmp_path_factory.mktemp("slides") / "cut.tif"
    return SlideRef(id="cut", path=write_slide(path, rgb))


@pytest.fixture(scope="session")
def serial(tmp_path_factory, slide):
    """What the builtin map makes of the slide: the bytes of its table."""
    out = tmp_path_factory.mktemp("serial")
    segment_slide(slide, out, Settings(**CHOICES))
    return table_bytes(out)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Two folders of certificates, each signed by an authority of its own."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("ours", "theirs"):
        subprocess.run([SCRIPT, folder / name, "node"], check=True, timeout=60)
    return folder


@pytest.fixture(autouse=True)
def no_cluster_around():
    """Leave the cluster that another folder's session fixture may have around."""
    token = _cluster.set(None)
    yield
    _cluster.reset(token)
