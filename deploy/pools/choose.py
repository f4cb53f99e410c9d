# ruff: noqa: INP001 - a script
"""Write a pool's job template with other defaults: TEMPLATE NAME=VALUE... on stdout."""

import json
import sys
from pathlib import Path


def main(template: str, *chosen: str) -> None:
    """Set the defaults of variables that the template has."""
    pool = json.loads(Path(template).read_text(encoding="utf-8"))
    variables = pool["variables"]["properties"]
    for one in chosen:
        name, _, value = one.partition("=")
        if name not in variables:
            known = ", ".join(sorted(variables))
            sys.exit(f"{template} has no variable {name!r}; it has {known}.")
        variables[name]["default"] = value
    json.dump(pool, sys.stdout, indent=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
