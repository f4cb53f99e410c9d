"""The demo slide gives the nuclei it gave when somebody last looked at them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from segpipe import read_nuclei
from segpipe.stages.slide import segment_slide
from segpipe.stores.layout import Layout

EXAMPLE = Path(__file__).parents[2] / "examples" / "cmu-1-small-region.svs"
GOLDEN = Path(__file__).parents[1] / "golden" / "demo" / "nuclei.csv.gz"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return out, segment_slide(EXAMPLE, out)


def test_the_demo_slide_gives_its_golden_nuclei(demo):
    """Convolutions round differently on other processors, so a few may differ."""
    nuclei, golden = read_nuclei(demo[0]), pd.read_csv(GOLDEN)
    assert len(nuclei) == pytest.approx(len(golden), rel=0.01)
    places = cKDTree(golden[["y_um", "x_um"]].to_numpy())
    distance, nearest = places.query(nuclei[["y_um", "x_um"]].to_numpy())
    same = distance < 0.25
    assert same.mean() > 0.98
    areas = golden["area_um2"].to_numpy()[nearest[same]]
    assert np.median(np.abs(nuclei["area_um2"][same] - areas)) < 0.5


def test_the_demo_slide_has_its_report_and_picture(demo):
    out, row = demo
    layout = Layout(Path(out))
    page = layout.report("cmu-1-small-region").read_text()
    assert f"{row.n_nuclei:,}" in page
    with Image.open(layout.overlay("cmu-1-small-region")) as picture:
        assert min(picture.size) > 1000
        assert len(picture.getcolors(10**7)) > 1000


def test_the_demo_slide_is_done_to_scale(demo):
    _, row = demo
    assert row.mpp == pytest.approx(0.499)
    assert 0.4 < row.tissue_mm2 < 1.0
    assert 1000 < row.nuclei_per_mm2 < 10_000
    assert 0.8 < row.seam.density_ratio < 1.25
