"""Write the golden nuclei of the demo slide anew.

``python tests/golden/demo/renew.py``

To be run when weights, decoding or measuring change on purpose, after a look at the
overlay picture.
"""

import tempfile
from pathlib import Path

from segpipe import read_nuclei, segment_slide

HERE = Path(__file__).parent
SLIDE = HERE.parents[2] / "examples" / "cmu-1-small-region.svs"
COLUMNS = ["y_um", "x_um", "area_um2", "type_id"]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as out:
        segment_slide(SLIDE, out)
        nuclei = read_nuclei(out, columns=COLUMNS)
    nuclei[COLUMNS].round(2).to_csv(HERE / "nuclei.csv.gz", index=False)
