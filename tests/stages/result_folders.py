"""Result folders as runs leave them, made from label maps."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from segpipe.geometry import Box
from segpipe.stages.outputs import prepare_out
from segpipe.stages.stored import NUCLEI_0
from segpipe.stores.durable import write_text
from segpipe.stores.ledger import Ledger
from segpipe.stores.slide_store import ArraySpec, SlideStore
from segpipe.tables.contours import to_wkb, trace
from segpipe.tables.crops import find_crops
from segpipe.tables.parquet import TableWriter
from segpipe.tables.schema import COLUMNS
from segpipe.tables.slides import SlideRow

FILL = {"bool": False, "string": "", "wkb": None}
DTYPES = {"string": object, "bool": np.bool_, "wkb": object}


def instances(mask):
    """Number the 4-connected pieces of a mask as runs do, by first pixel."""
    return ndimage.label(mask)[0].astype(np.uint32)


def parted(classes):
    """Return instances that may touch: the pieces of equal class."""
    pieces = np.zeros(classes.shape, np.int64)
    for value in np.unique(classes[classes > 0]):
        found = ndimage.label(classes == value)[0]
        pieces[found > 0] = found[found > 0] + pieces.max()
    firsts = {}
    for piece in pieces[pieces > 0].tolist():
        firsts.setdefault(piece, len(firsts) + 1)
    lookup = np.zeros(pieces.max(initial=0) + 1, np.uint32)
    lookup[list(firsts)] = list(firsts.values())
    return lookup[pieces]


def write_run(
    folder,
    labels,
    *,
    slide_id="s",
    types=None,
    mpp=0.25,
    downsample=1.0,
    unit_px=64,
    **facts,
):
    """Write what a finished run leaves of a slide with these nuclei.

    ``types`` are names by id, from id 1; ``facts`` go into the slide's row.
    """
    layout = prepare_out(folder)
    canvas_mpp = mpp * downsample
    store = SlideStore(layout.store(slide_id))
    store.create(
        ArraySpec(path=NUCLEI_0, shape=labels.shape, unit_px=unit_px, dtype="uint32")
    )
    store.write(NUCLEI_0, Box.of_shape(labels.shape), labels)
    n = int(labels.max(initial=0))
    columns = _columns(labels, types or [""] * n, canvas_mpp, downsample)
    with TableWriter(layout.table(slide_id), metadata={}) as writer:
        writer.append(columns | {"slide_id": np.full(n, slide_id, object)})
    side = [int(np.ceil(length * downsample)) for length in labels.shape]
    row = SlideRow(
        slide_id=slide_id,
        path="gone.tiff",
        status="done",
        n_nuclei=n,
        mpp=mpp,
        canvas_mpp=canvas_mpp,
        slide_shape=(2 * (side[0] // 2), 2 * (side[1] // 2)),
        network="made-up",
        fingerprint="f" * 64,
    )
    row = replace(row, **facts)
    write_text(Ledger(layout, slide_id).row_path, row.to_json())
    return folder


def _columns(labels, types, canvas_mpp, downsample):
    n = len(types)
    ids = np.arange(1, n + 1, dtype=np.uint32)
    crops = find_crops(labels, ids)
    columns = {
        column.name: np.full(
            n, FILL.get(column.dtype, 0), DTYPES.get(column.dtype, column.dtype)
        )
        for column in COLUMNS
    }
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, ids)).reshape(-1, 2)
    ends = crops.boxes * downsample
    columns |= {
        "nucleus_id": ids,
        "y_l0_px": (centres[:, 0] + 0.5) * downsample,
        "x_l0_px": (centres[:, 1] + 0.5) * downsample,
        "area_um2": crops.area_px * canvas_mpp**2,
        "type_name": np.array(types, object),
        "geometry": to_wkb(trace(crops), (0, 0), downsample),
    }
    for at, name in enumerate(("ymin", "xmin", "ymax", "xmax")):
        columns[f"{name}_l0_px"] = ends[:, at]
    return columns
