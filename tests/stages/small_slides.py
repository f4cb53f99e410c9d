"""Writing small slides."""

import tifffile


def write_slide(path, rgb, mpp=0.499):
    """Write a tiled TIFF that states its mpp, or none."""
    stated = {}
    if mpp is not None:
        stated = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, rgb, tile=(128, 128), photometric="rgb", **stated)
    return path
