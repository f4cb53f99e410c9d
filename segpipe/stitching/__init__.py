"""From the label maps of tiles to the nuclei of the slide: pure."""
