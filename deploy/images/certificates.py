# ruff: noqa: INP001 - a script
"""Make the certificate that one project's Dask scheduler, workers and clients share.

``python certificates.py FOLDER`` writes ``cert.pem`` and ``key.pem``, and anew when
they are half a year old, for they hold a year. The certificate is its own authority:
who has the key is let in, and may run any code on the workers; nobody else is.
"""

import os
import sys
import time
from pathlib import Path

from distributed.security import Security

HALF_A_YEAR_S = 182 * 86400


def main(folder: str) -> None:
    """Write the pair, the key for its owner only."""
    certificate, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
    is_there = certificate.exists() and key.exists()
    if is_there and time.time() - key.stat().st_mtime < HALF_A_YEAR_S:
        return
    made = Security.temporary()
    certificate.write_text(made.tls_ca_file, encoding="ascii")
    descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(made.tls_scheduler_key)


if __name__ == "__main__":
    main(sys.argv[1])
