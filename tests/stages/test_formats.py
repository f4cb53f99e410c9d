"""The same pixels in any lossless format are the same nuclei."""

import numpy as np
import pytest
import tifffile
import zarr
from outcome import array
from PIL import Image

from segpipe import read_nuclei
from segpipe.config import Settings, SlideRef
from segpipe.stages.slide import segment_slide

MPP = 0.499
SETTINGS = Settings(report=False, mpp=MPP)


def as_png(path, rgb):
    Image.fromarray(rgb).save(path)


def as_npy(path, rgb):
    np.save(path, rgb)


def as_strips(path, rgb):
    tifffile.imwrite(path, rgb, photometric="rgb", rowsperstrip=16)


def as_ome_tiff(path, rgb):
    metadata = {"axes": "YXS", "PhysicalSizeX": MPP, "PhysicalSizeY": MPP}
    tifffile.imwrite(path, rgb, photometric="rgb", tile=(64, 64), metadata=metadata)


def as_pyramid(path, rgb):
    """Write a pyramid whose coarse level is too coarse to be read."""
    with tifffile.TiffWriter(path) as writer:
        options = {"photometric": "rgb", "tile": (128, 128)}
        writer.write(rgb, subifds=1, compression="lzw", **options)
        writer.write(np.ascontiguousarray(rgb[::4, ::4]), subfiletype=1, **options)


def as_ome_zarr(path, rgb):
    root = zarr.create_group(path, zarr_format=3)
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    root.create_array("0", data=planes, chunks=(3, 100, 100))
    axes = [
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    scale = {"type": "scale", "scale": [1.0, MPP, MPP]}
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    multiscale = {"name": "crop", "axes": axes, "datasets": datasets}
    root.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}


FORMATS = {
    "crop.png": as_png,
    "crop.npy": as_npy,
    "strips.tif": as_strips,
    "crop.ome.tiff": as_ome_tiff,
    "pyramid.tif": as_pyramid,
    "crop.ome.zarr": as_ome_zarr,
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory, crop_rgb):
    return segmented(tmp_path_factory.mktemp("reference"), "crop.npy", crop_rgb)


def segmented(folder, name, crop_rgb):
    """Return the label map and the places of nuclei of a piece in a format."""
    piece = np.ascontiguousarray(crop_rgb[100:420, 60:410])
    FORMATS[name](folder / name, piece)
    slide = SlideRef(id="piece", path=folder / name)
    segment_slide(slide, folder / "out", SETTINGS)
    places = read_nuclei(folder / "out")[["y_um", "x_um", "area_um2"]].to_numpy()
    return array(folder / "out", "labels/nuclei/0", "piece"), places


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"crop.npy"}))
def test_the_same_pixels_are_the_same_nuclei(tmp_path, crop_rgb, reference, name):
    labels, places = segmented(tmp_path, name, crop_rgb)
    assert len(places) > 20
    assert np.array_equal(labels, reference[0])
    assert np.allclose(places, reference[1], rtol=0, atol=1e-6)
