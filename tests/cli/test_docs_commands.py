"""The commands of docs/command-line.md, run in the order in which they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lit_plugins.cli.main import COMMANDS, commands

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "command-line.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_there_is_something_to_run():
    text = "".join(code for _, code in BLOCKS)
    assert text.count("lit-plugins explain") >= 4
    assert {name for name in COMMANDS if f"lit-plugins {name} " in text} >= {
        "explain", "predict", "report", "fetch", "methods"
    }  # fmt: skip


@pytest.mark.packaged
def test_the_page_in_its_order(tmp_path):
    """As a reader would: a shell, one folder, `lit-plugins` on the path."""
    program = tmp_path / "bin" / "lit-plugins"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lit_plugins "$@"\n')
    program.chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    printed = ""
    for language, code in BLOCKS:
        lines = code.splitlines() if language == "sh" else [code]
        for line in filter(None, lines):
            command = ["sh", "-c", line] if language == "sh" else [sys.executable, "-c", line]
            ran = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True
            )
            assert ran.returncode == 0, f"{line}\n{ran.stderr}"
            printed += ran.stdout
    made = {path.name for path in folder.iterdir()}
    assert made == {"why.jsonl", "why.html", "topics.jsonl", "fast.jsonl", "both.html"}
    assert "Oslo" in printed
    assert re.search(r"^1 NEGATIVE \[\(' dull,'", printed, re.MULTILINE)


def test_options_that_the_page_names_exist():
    known = {"--help", "--check"}
    for name in COMMANDS:
        command = commands.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        known |= {option for one in command.params for option in one.opts}
    code = "".join(code for _, code in BLOCKS) + " ".join(re.findall(r"`([^`\n]+)`", PAGE))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)) <= known


def test_the_page_names_every_command():
    for name in COMMANDS:
        assert re.search(rf"^\| `{name}[ `]", PAGE, re.MULTILINE), name
