"""What a run came to, for comparing runs byte by byte."""

import hashlib

import numpy as np
import zarr

from segpipe.stores.layout import Layout


def table_bytes(out, slide_id="crop"):
    """Return the hash of the table's file."""
    return hashlib.sha256(Layout(out).table(slide_id).read_bytes()).hexdigest()


def array(out, path, slide_id="crop"):
    """Return an array of the store."""
    root = Layout(out).store(slide_id)
    return zarr.open_array(str(root / path), mode="r")[:]


def same(one, other):
    """Whether two runs made the same table, label map and maps."""
    arrays = ("labels/nuclei/0", "image", "maps/prob", "maps/hv", "maps/type")
    return table_bytes(one) == table_bytes(other) and all(
        np.array_equal(array(one, path), array(other, path)) for path in arrays
    )
