"""Small result folders with round nuclei, for tests of what writes and reads them."""

import numpy as np

from segpipe.geometry import Box
from segpipe.tables.frame import Frame
from segpipe.tables.measuring import measure
from segpipe.tables.parquet import TableWriter
from segpipe.tables.schema import Packed

METADATA = {"mpp": "0.5", "network": "hoverlite", "settings": '{"tile_px": 256}'}
PITCH = 12


def columns(n, slide_id="a", type_names=("round", "long")):
    """Measure ``n`` discs and annuli of growing radius, on a grid."""
    side = int(np.ceil(np.sqrt(max(n, 1))))
    shape = (side * PITCH, side * PITCH)
    y, x = np.mgrid[: shape[0], : shape[1]]
    cell = (y // PITCH) * side + x // PITCH
    distance = np.hypot(y % PITCH - PITCH / 2, x % PITCH - PITCH / 2)
    disc = (distance < 3.5 + cell % 3) & ((distance >= 1.5) | (cell % 2 == 0))
    labels = np.where(disc & (cell < n), cell + 1, 0).astype(np.int32)
    frame = Frame(
        box=Box.of_shape(shape),
        mpp=0.5,
        downsample=2.0,
        canvas_shape=shape,
        window_px=32,
        slide_id=slide_id,
        type_names=type_names,
    )
    hashed = ((y * 31 + x * 17) % 255).astype(np.uint8)
    types = np.stack([np.where(cell % 2 == k, 250, 5) for k in range(len(type_names))])
    maps = {"prob": hashed, "type": types.astype(np.uint8).reshape(-1, *shape)}
    planes = np.stack([hashed, hashed // 2, hashed // 3 + 100])
    ids = np.arange(1, n + 1)
    return measure(labels, ids, planes=planes, maps=maps, frame=frame)


def rows_of(measured, start, stop):
    """Cut rows out of measured columns."""
    return {
        name: Packed(
            buffer=column.buffer[column.offsets[start] : column.offsets[stop]],
            offsets=column.offsets[start : stop + 1] - column.offsets[start],
        )
        if isinstance(column, Packed)
        else column[start:stop]
        for name, column in measured.items()
    }


def write_run(out_dir, **n_by_slide):
    """Write the tables of a run; return the measured columns of each slide."""
    measured = {slide: columns(n, slide) for slide, n in n_by_slide.items()}
    for slide, table in measured.items():
        path = out_dir / "nuclei" / f"slide_id={slide}" / "part-0.parquet"
        with TableWriter(path, metadata=METADATA) as writer:
            writer.append(table)
    return measured
