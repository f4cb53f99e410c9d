"""Where the stages run: Prefect tasks as policy, Dask as the mapper over tiles.

Importing this package turns telemetry off, which must happen before Prefect is
imported; set the variables yourself to turn it on.
"""

import os

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
