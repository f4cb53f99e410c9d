"""What happens to slides, in which order: flows, and the command line ``segpipe``."""

import tasks  # noqa: F401 - turns telemetry off, before any module here imports Prefect
