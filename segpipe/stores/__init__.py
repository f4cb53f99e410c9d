"""What lies on disk: where, in which arrays, and what of it is finished."""
