"""One picture of a slide and its nuclei: the whole, the density, and close looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segpipe.arrays import RGB, LabelMap
from segpipe.geometry import Box
from segpipe.report.density import Density, density_of, scale_colours, veiled
from segpipe.report.details import Detail
from segpipe.report.overlays import overlay
from segpipe.report.scalebars import draw_scale_bar

_WIDTH_PX = 1680
_MARGIN_PX = 36
_GAP_PX = 24
_HEADER_PX = 92
_CAPTION_PX = 48
_MAP_HEIGHT_PX = 800
_FRAME_PX = 5
_PLAIN = str.maketrans("µμ²×–", "uu2x-")
"""Characters that the built-in font lacks."""
_PAPER = (255, 255, 255)
_INK = (24, 24, 37)
_FAINT = (104, 106, 122)
_FRAMES = ((214, 40, 57), (0, 95, 204), (222, 120, 0))
"""Colours that tie a close look to its place on the map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What the picture shows."""

    thumbnail: RGB
    """The whole canvas, small."""
    y_px: NDArray[np.float64]
    """(N,) centroids in canvas pixels."""
    x_px: NDArray[np.float64]
    """(N,) centroids in canvas pixels."""
    canvas_shape: tuple[int, int]
    """Height and width of the canvas."""
    mpp: float
    """Micrometres per canvas pixel."""
    every: int = 1
    """One in so many nuclei is given."""
    details: Sequence[Detail] = ()
    """Up to three close looks."""


def draw_overview(overview: Overview) -> RGB:
    """Draw the picture.

    Returns
    -------
    (Y, 1680, 3) uint8
    """
    rows = [_maps(overview), _close_looks(overview)]
    heights = [
        max((panel.picture.height for panel in row), default=-_CAPTION_PX) + _CAPTION_PX
        for row in rows
    ]
    page = Image.new("RGB", (_WIDTH_PX, _GAP_PX + sum(heights)), _PAPER)
    _paste_row(page, rows[0], _GAP_PX)
    _paste_row(page, rows[1], _GAP_PX + heights[0])
    return np.asarray(page)


def with_title(picture: RGB, title: str, subtitle: str) -> RGB:
    """Put a title and a line of numbers above a picture."""
    header = Image.new("RGB", (picture.shape[1], _HEADER_PX), _PAPER)
    _write(header, (_MARGIN_PX, 26), title, size_px=34, colour=_INK)
    _write(header, (_MARGIN_PX, 70), subtitle, size_px=20, colour=_FAINT)
    return np.concatenate([np.asarray(header), picture])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """A picture with a line of text below it."""

    picture: Image.Image
    caption: str


def _maps(overview: Overview) -> list[_Panel]:
    """Return the slide with the places of the close looks, and its density."""
    slide = _fitted(overview.thumbnail, _slot_px(2), _MAP_HEIGHT_PX)
    density = density_of(
        overview.y_px,
        overview.x_px,
        canvas_shape=overview.canvas_shape,
        mpp=overview.mpp,
        every=overview.every,
    )
    veil = Image.fromarray(veiled(np.asarray(slide), density))
    scale = slide.width / overview.canvas_shape[1]
    draw_scale_bar(slide, overview.mpp / scale)
    for index, detail in enumerate(overview.details):
        _mark(slide, detail.box, scale, index)
    _draw_legend(veil, density)
    return [
        _Panel(picture=slide, caption="The slide"),
        _Panel(picture=veil, caption="Nuclei per square millimetre"),
    ]


def _close_looks(overview: Overview) -> list[_Panel]:
    """Return the details, enlarged before outlining so that lines stay thin."""
    panels = []
    for index, detail in enumerate(overview.details):
        side_px = _slot_px(len(_FRAMES))
        rgb = _fitted(detail.rgb, side_px, side_px)
        labels = _nearest(detail.labels, (rgb.height, rgb.width))
        drawn = overlay(np.asarray(rgb), labels, detail.type_ids)
        picture = Image.fromarray(drawn)
        draw_scale_bar(picture, overview.mpp * detail.box.width / rgb.width)
        frame = ImageDraw.Draw(picture)
        frame.rectangle(
            (0, 0, picture.width - 1, picture.height - 1),
            outline=_FRAMES[index % len(_FRAMES)],
            width=_FRAME_PX,
        )
        n_nuclei = np.count_nonzero(np.unique(detail.labels))
        panels.append(
            _Panel(picture=picture, caption=f"{'ABC'[index]}   {n_nuclei} nuclei")
        )
    return panels


def _slot_px(n_panels: int) -> int:
    """Return the width of each of several panels side by side."""
    return (_WIDTH_PX - 2 * _MARGIN_PX - (n_panels - 1) * _GAP_PX) // n_panels


def _fitted(rgb: RGB, width_px: int, height_px: int) -> Image.Image:
    """Scale pixels to fit into a rectangle."""
    height, width = rgb.shape[:2]
    scale = min(width_px / width, height_px / height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS)


def _nearest(labels: LabelMap, shape: tuple[int, int]) -> LabelMap:
    """Scale a label map without making new labels."""
    rows, cols = (
        np.arange(new) * old // new
        for new, old in zip(shape, labels.shape, strict=True)
    )
    scaled: LabelMap = labels[rows[:, None], cols]
    return scaled


def _mark(picture: Image.Image, box: Box, scale: float, index: int) -> None:
    """Draw the place of a detail, with its letter."""
    colour = _FRAMES[index % len(_FRAMES)]
    x0, y0, x1, y1 = (edge * scale for edge in (box.x0, box.y0, box.x1, box.y1))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x0, y0, x1, y1), outline=colour, width=4)
    tab = (x0, max(y0 - 24, 0), x0 + 24, max(y0, 24))
    draw.rectangle(tab, fill=colour)
    font = ImageFont.load_default(18)
    middle = (tab[0] + tab[2]) / 2, (tab[1] + tab[3]) / 2
    draw.text(middle, "ABC"[index], font=font, fill="white", anchor="mm")


def _draw_legend(picture: Image.Image, density: Density) -> None:
    """Draw the colour scale of a density at the lower left."""
    width, height = 180, 12
    left, top = 16, picture.height - 16 - height
    colours = scale_colours(np.tile(np.linspace(0, 1, width), (height, 1)))
    picture.paste(Image.fromarray(colours.astype(np.uint8)), (left, top))
    draw = ImageDraw.Draw(picture)
    for at, text, anchor in (
        (left, "0", "lb"),
        (left + width, f"{density.highest:,.0f}", "rb"),
    ):
        draw.text(
            (at, top - 4),
            text,
            font=ImageFont.load_default(18),
            fill="white",
            stroke_width=2,
            stroke_fill="black",
            anchor=anchor,
        )


def _paste_row(page: Image.Image, panels: Sequence[_Panel], top: int) -> None:
    """Paste panels side by side with their captions, each centred in its slot."""
    for index, panel in enumerate(panels):
        slot_px = _slot_px(max(len(panels), 2))
        left = _MARGIN_PX + index * (slot_px + _GAP_PX)
        left += (slot_px - panel.picture.width) // 2
        page.paste(panel.picture, (left, top))
        at = left, top + panel.picture.height + 10
        _write(page, at, panel.caption, size_px=20, colour=_FAINT)


def _write(
    page: Image.Image,
    at: tuple[int, int],
    text: str,
    *,
    size_px: int,
    colour: tuple[int, int, int],
) -> None:
    font = ImageFont.load_default(size_px)
    ImageDraw.Draw(page).text(at, text.translate(_PLAIN), font=font, fill=colour)
