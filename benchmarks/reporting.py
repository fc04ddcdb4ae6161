"""What a benchmark's report has in common with the others': its options, the machine, the file."""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options, with the module's docstring above them and `--json` among them."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", type=Path, help="write the result to this file")
    return made


def machine(*packages: str) -> dict[str, Any]:
    """Where it ran, with the versions of Python and of these packages."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
    }


def write(result: dict[str, Any], path: Path | None) -> None:
    """Print a result, and write it if there is a file."""
    text = json.dumps(result, indent=2)
    print(text)
    if path:
        path.write_text(text + "\n", encoding="utf-8")
