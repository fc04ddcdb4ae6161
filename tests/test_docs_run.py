"""The commands and the code of the documents, run."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def _fenced(language: str) -> list[str]:
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        found += re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return found


COMMANDS = sorted({line for block in _fenced("sh") for line in block.splitlines() if line})
LAUNCH = [line for line in COMMANDS if line.startswith("python launch.py")]
PYTHON = _fenced("python")


def test_there_is_something_to_run():
    assert len(LAUNCH) >= 4
    assert len(PYTHON) >= 2


@pytest.mark.parametrize("line", LAUNCH)
def test_flags_are_understood(line, monkeypatch):
    """All but the weights: flags, models, datasets, layouts, config."""
    from lit_plugins.server import main

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(main, "_serve", lambda setup: None)
    monkeypatch.setattr(main, "_check", lambda setup: 0)
    assert main.main(shlex.split(line)[2:]) == 0


@pytest.mark.packaged
@pytest.mark.parametrize(
    "line", [line for line in LAUNCH if "packaged:" in line and "keras:" not in line]
)
def test_checks_out(line):
    """The commands with packaged Hugging Face models; the default ones are tested elsewhere."""
    command = [sys.executable, *shlex.split(line)[1:]]
    if "--check" not in command:
        command.append("--check")
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    for name in re.findall(r"([\w-]+)=hf:", line):
        assert re.search(rf"^{name} +model +ok", ran.stdout, re.MULTILINE)


@pytest.mark.packaged
def test_python_explains():
    [code] = [code for code in PYTHON if 'explainer.explain("What is' in code]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "The▁capital▁of▁France▁is▁Paris." in ran.stdout
    assert re.search(r"log-probability of the answer, in nats: -\d", ran.stdout)
    assert " France" in ran.stdout


def _session(page: str) -> str:
    """What all blocks of a page print, in their order, in one process."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == text.count("```python")
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.packaged
def test_labels_tags_and_answers():
    printed = _session("classifiers.md").splitlines()
    starts = (
        r"\('NEGATIVE',\) \[\(' dull,', 0\.",
        r"\[\('Berlin', 5\.\d+\), \(' population', 4\.",
        r"GIVEN_NAME Emmanuel \[\(' Emmanuel', 6\.",
        r"SURNAME Macron \[\(' Macron', 3\.",
        r"Lisbon \('start of Lisbon', 'end of Lisbon'\) \[",
        r"\('sport',\) \[\(' scored', 5\.",
        r"NEGATIVE \[\(' wonderful\.', 3\.",
    )
    for line, start in zip(printed, starts, strict=True):
        assert re.match(start, line), line


@pytest.mark.packaged
def test_explanations():
    output = _session("explanations.md")
    printed = output.splitlines()
    assert printed[0] == "Anna lives in Berlin."
    assert printed[1].split(maxsplit=1) == ["12.70", "'Anna lives in'"]
    assert printed[2].split(maxsplit=1) == ["6.94", "' Anna lives in Berlin.'"]
    assert "(5, 49)" in printed  # the matrix
    assert re.search(r"\('Paul lives in Rome\.', -4\.0", output)
    assert "[' Rome', ' Berlin']" in output
    assert re.search(r"^\[\(' Berlin', 3\.7\d*\)\] 0\.00\d* \d+$", output, re.MULTILINE)
    assert re.search(r"^452 forward and 0 backward passes", output, re.MULTILINE)
    assert re.search(r"^(\d+) of \1 passes$", output, re.MULTILINE)


@pytest.mark.packaged
def test_python_serves():
    [code] = [code for code in PYTHON if "dev_server.Server(" in code]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = code.replace("5432", str(port))
    server = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read()
                break
            except OSError:
                assert server.poll() is None, server.stderr and server.stderr.read().decode()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert b"lit-app" in page
    finally:
        server.terminate()
        server.communicate(timeout=30)
