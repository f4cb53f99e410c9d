"""Arithmetic of label maps: records, equivalences, renaming. Pure, no per-label Python."""
