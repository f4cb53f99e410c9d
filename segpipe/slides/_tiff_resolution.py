"""The mpp a TIFF states: in Aperio's line, in OME-XML, or in the resolution tags."""

from __future__ import annotations

import math
import re
from xml.etree.ElementTree import Element

from defusedxml import ElementTree
from tifffile import TiffPage

from segpipe.slides._resolution import (
    UM_PER_UNIT,
    UNSTATED,
    Resolution,
    judged,
    number,
)

INCH, CENTIMETRE = 2, 3
"""Values of the tag ResolutionUnit that name a length."""
MAX_XML_CHARACTERS = 2**24
"""Of OME-XML: what is made of it takes thirty times as much."""
IMAGEJ_UNIT = re.compile(r"^unit=(\S+)", re.MULTILINE)


def resolution_of(page: TiffPage) -> Resolution:
    """Judge what the first page and the tags of the scan say of its pixel size.

    Aperio's ``MPP`` and OME's ``PhysicalSize`` are statements about a microscope and
    come before the resolution tags, which every paint program writes as well.

    Parameters
    ----------
    page
        The scan (level 0). Its ``parent`` holds the OME-XML.
    """
    for stated in (_from_aperio(page), _from_ome(page), _from_tags(page)):
        if stated != UNSTATED:
            return stated
    return UNSTATED


def _from_aperio(page: TiffPage) -> Resolution:
    entries = aperio_entries(page.description) if page.is_svs else {}
    stated = number(entries.get("MPP", "nothing"))
    return UNSTATED if math.isnan(stated) else judged(stated, stated)


def aperio_entries(description: str) -> dict[str, str]:
    """Return the ``key = value`` entries of an Aperio ImageDescription.

    >>> aperio_entries("Aperio Image Library v11|AppMag = 20|MPP = 0.4990")
    {'AppMag': '20', 'MPP': '0.4990'}
    """
    pairs = (entry.split("=", 1) for entry in description.split("|")[1:])
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def _from_ome(page: TiffPage) -> Resolution:
    """Take the physical size of the OME image whose size is that of the page."""
    xml = page.parent.ome_metadata if page.parent.is_ome else None
    if not xml:
        return UNSTATED
    if len(xml) > MAX_XML_CHARACTERS:
        return Resolution(
            mpp=None, note=f"its OME-XML of {len(xml)} characters is too long: not used"
        )
    try:
        root = ElementTree.fromstring(xml.encode())
    except (ElementTree.ParseError, ValueError):
        return Resolution(mpp=None, note="its OME-XML can't be read: not used")
    pixels = [e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"]
    size = (str(page.imagewidth), str(page.imagelength))
    alike = [p for p in pixels if (p.get("SizeX"), p.get("SizeY")) == size]
    if not alike or alike[0].get("PhysicalSizeX") is None:
        return UNSTATED
    return judged(_ome_um(alike[0], "Y"), _ome_um(alike[0], "X"))


def _ome_um(pixels: Element, axis: str) -> float:
    size = pixels.get(f"PhysicalSize{axis}", pixels.get("PhysicalSizeX"))
    unit = pixels.get(f"PhysicalSize{axis}Unit", "\N{MICRO SIGN}m")
    return number(size) * UM_PER_UNIT.get(unit, math.nan)


def _from_tags(page: TiffPage) -> Resolution:
    """Take XResolution and YResolution, if their unit is a length.

    The 72, 96 or 300 dpi of paint programs come out as 353, 265 or 85 um, which no
    microscope has, and are told as such.
    """
    um = _tag_unit_um(page)
    height, width = (page.tags.valueof(name) for name in ("YResolution", "XResolution"))
    if um is None or not _is_positive(height) or not _is_positive(width):
        return UNSTATED
    return judged(um * height[1] / height[0], um * width[1] / width[0])


def _tag_unit_um(page: TiffPage) -> float | None:
    """Return the micrometres in the unit of the resolution tags, if it is a length."""
    unit = page.tags.valueof("ResolutionUnit", default=INCH)
    if unit in {INCH, CENTIMETRE}:
        return UM_PER_UNIT["inch" if unit == INCH else "cm"]
    named = IMAGEJ_UNIT.search(page.description) if page.is_imagej else None
    return UM_PER_UNIT.get(named.group(1)) if named else None


def _is_positive(pixels_per_unit: tuple[int, int] | None) -> bool:
    return pixels_per_unit is not None and min(pixels_per_unit) > 0
