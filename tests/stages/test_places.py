"""Nuclei are where they are: against annotated tissue, at rims, on tiny slides."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree
from skimage.measure import regionprops
from small_slides import write_slide

from segpipe import read_nuclei
from segpipe.config import Settings, SlideRef
from segpipe.errors import NoTissue
from segpipe.stages.slide import segment_slide

ANNOTATED = Path(__file__).parents[1] / "annotated"
SETTINGS = Settings(report=False, mpp=0.25, tile_px=512)


def read_tile(name):
    rgb = np.asarray(Image.open(ANNOTATED / f"{name}.jpg").convert("RGB"))
    return rgb, np.asarray(Image.open(ANNOTATED / f"{name}.png")).astype(np.int32)


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    """Two annotated tiles on white, at places that are multiples of nothing."""
    folder = tmp_path_factory.mktemp("mosaic")
    rgb = np.full((1301, 1203, 3), 245, np.uint8)
    labels = np.zeros(rgb.shape[:2], np.int32)
    for name, y, x in (("09_1", 117, 43), ("10_1", 713, 651)):
        tile, truth = read_tile(name)
        rgb[y : y + 512, x : x + 512] = tile
        labels[y : y + 512, x : x + 512] = np.where(truth, truth + labels.max(), 0)
    slide = SlideRef(id="mosaic", path=write_slide(folder / "m.tiff", rgb, 0.25))
    segment_slide(slide, folder / "out", SETTINGS)
    return read_nuclei(folder / "out"), labels


def test_centroids_are_right_to_half_a_pixel(mosaic):
    nuclei, labels = mosaic
    truth = np.array([region.centroid for region in regionprops(labels)]) + 0.5
    found = nuclei[["y_l0_px", "x_l0_px"]].to_numpy()
    distance, nearest = cKDTree(found).query(truth)
    near = distance < 8
    offset = np.median(found[nearest[near]] - truth[near], axis=0)
    assert near.mean() > 0.6
    assert np.all(np.abs(offset) <= 0.5), offset


def test_micrometres_are_level_0_pixels_times_mpp(mosaic):
    nuclei, _ = mosaic
    assert np.allclose(nuclei.y_um, nuclei.y_l0_px * 0.25)
    assert np.allclose(nuclei.x_um, nuclei.x_l0_px * 0.25)
    inside = nuclei.y_l0_px.between(nuclei.ymin_l0_px, nuclei.ymax_l0_px)
    assert inside.mean() > 0.99


def test_background_between_the_tiles_stays_empty(mosaic):
    nuclei, labels = mosaic
    rows, cols = np.nonzero(labels)
    tissue = cKDTree(np.stack([rows, cols], axis=1))
    distance, _ = tissue.query(nuclei[["y_l0_px", "x_l0_px"]].to_numpy())
    assert np.quantile(distance, 0.99) < 60


@pytest.mark.parametrize("shape", [(33, 47), (64, 700), (1, 300)])
def test_a_slide_smaller_than_a_tile_is_done_or_has_no_tissue(
    tmp_path, crop_rgb, shape
):
    piece = np.ascontiguousarray(np.tile(crop_rgb, (1, 2, 1))[: shape[0], : shape[1]])
    slide = SlideRef(id="tiny", path=write_slide(tmp_path / "tiny.tiff", piece))
    try:
        row = segment_slide(slide, tmp_path / "out", Settings(report=False))
    except NoTissue:
        return
    assert row.n_nuclei == len(read_nuclei(tmp_path / "out"))


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_nucleus_on_the_corner_of_the_slide_touches_its_edge(tmp_path, corner):
    tile, truth = read_tile("09_1")
    largest = max(regionprops(truth), key=lambda region: region.area)
    y, x = (int(c) for c in largest.centroid)
    y0, x0 = (y if corner[0] == 0 else y - 256), (x if corner[1] == 0 else x - 256)
    y0, x0 = max(0, min(y0, 256)), max(0, min(x0, 256))
    piece = np.ascontiguousarray(tile[y0 : y0 + 256, x0 : x0 + 256])
    slide = SlideRef(id="corner", path=write_slide(tmp_path / "c.tiff", piece, 0.25))
    segment_slide(slide, tmp_path / "out", SETTINGS)
    nuclei = read_nuclei(tmp_path / "out")
    at_edge = (
        (nuclei.ymin_l0_px <= 0)
        | (nuclei.xmin_l0_px <= 0)
        | (nuclei.ymax_l0_px >= 256)
        | (nuclei.xmax_l0_px >= 256)
    )
    assert np.array_equal(nuclei.touches_slide_edge, at_edge)
    assert at_edge.any()
