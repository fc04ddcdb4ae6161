"""5,000 snippets through `lit-plugins explain`: flat memory, and `kill -9` in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from cli_texts import write_texts

from lit_plugins.cli.running import CHUNK

ROOT = Path(__file__).resolve().parents[2]
COUNT = 5000
# Of torch's own growth over thousands of passes; all results would be more than 10 times that.
GROWTH = 30 * 2**20


def begin(model, data, out):
    command = [sys.executable, "-m", "lit_plugins", "explain", model, data, "-o", out]
    with Path(f"{out}.log").open("w") as log:
        return subprocess.Popen(
            [*map(str, command), "--method=integrated_gradients", "--steps=50"],
            # One thread: processes that share the cores would wait for each other.
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stderr=log,
        )


def said(out):
    return Path(f"{out}.log").read_text("utf-8")


def records_done(out):
    try:
        return (Path(f"{out}.journal").read_bytes().count(b"\n") - 1) * CHUNK
    except FileNotFoundError:
        return 0


def test_flat_memory_and_kill_9(model, tmp_path):
    data = write_texts(tmp_path / "many.jsonl", COUNT)
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"

    process = begin(model, data, whole)
    seen = []  # bytes of memory, once it has what it needs
    while process.poll() is None:
        time.sleep(0.2)
        if records_done(whole) >= COUNT // 10:
            try:
                seen.append(psutil.Process(process.pid).memory_info().rss)
            except psutil.Error:
                break
    assert process.wait() == 0, said(whole)
    seen = [size for size in seen if size]
    assert len(seen) > 10
    print(f"memory: {seen[0] / 2**20:.0f} MB at the beginning, {max(seen) / 2**20:.0f} at most")
    assert max(seen) - seen[0] < GROWTH
    assert whole.read_bytes().count(b"\n") == COUNT

    process = begin(model, data, killed)
    while records_done(killed) < COUNT // 2:
        assert process.poll() is None, said(killed)
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = records_done(killed)
    assert COUNT // 2 <= done < COUNT
    assert not killed.exists()

    process = begin(model, data, killed)
    assert process.wait() == 0, said(killed)
    assert f"Going on behind record {done:,}." in said(killed)
    assert killed.read_bytes() == whole.read_bytes()
    made = {path.name for path in tmp_path.iterdir() if path.suffix != ".log"}
    assert made == {data.name, whole.name, killed.name}
