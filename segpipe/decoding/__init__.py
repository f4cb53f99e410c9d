"""From the quantised maps of a box to its label map: pure, local, fixed constants."""
