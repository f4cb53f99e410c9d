"""Arithmetic of label maps: records, equivalences, renaming. Pure, no Python loops."""
