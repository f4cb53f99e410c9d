"""Every network trained and scored alike: behind ``docs/compare_networks.py``."""

from pathlib import Path

DOCS = Path(__file__).parents[1]
TILES = DOCS.parent / "tests" / "annotated"
"""Annotated tiles of TNBC that no contender is trained on."""
