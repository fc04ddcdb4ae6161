"""The ground-truth benchmark runs, and what it is sure of holds: it asserts that itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_quick():
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "benchmarks/ground_truth.py", "--quick"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "leave_one_out" in ran.stdout
