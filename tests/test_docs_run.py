"""The commands and the code of the documents, run."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


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


def _blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of a page's blocks of code."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


# Pages whose blocks of Python are one session each, in their order.
PAGES = (
    "python.md",
    "classifiers.md",
    "explanations.md",
    "explanation-json.md",
    "notebook.md",
    "reports.md",
    "coming-from/transformers-interpret.md",
    "coming-from/captum.md",
    "coming-from/inseq.md",
    "coming-from/lit.md",
)
# One process for all of them, as importing the frameworks takes longer than most pages. Each has
# names and a folder of its own.
RUN = """
import contextlib, io, json, os, sys, traceback

for folder, code in json.load(sys.stdin):
    os.chdir(folder)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(code, folder, "exec"), {"__name__": "__main__"})
    except Exception:
        printed.write(traceback.format_exc())
    json.dump(printed.getvalue(), sys.stdout)
    print(flush=True)
"""


class Session(NamedTuple):
    """What the blocks of a page have printed, and the folder they ran in."""

    printed: str
    folder: Path


@pytest.fixture(scope="module")
def sessions(tmp_path_factory) -> dict[str, Session]:
    folders, code = [], []
    for page in PAGES:
        folders.append(tmp_path_factory.mktemp(Path(page).stem))
        blocks = [text for language, text in _blocks(page) if language == "python"]
        assert len(blocks) == (ROOT / "docs" / page).read_text(encoding="utf-8").count("```python")
        code.append("\n".join(blocks))
    [example] = [text for language, text in _blocks("explanation-json.md") if language == "json"]
    (folders[PAGES.index("explanation-json.md")] / "why.json").write_text(example, "utf-8")
    ran = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps([[str(folder), text] for folder, text in zip(folders, code, strict=True)]),
        # The models are small: more threads would be in each other's way.
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    printed = map(json.loads, ran.stdout.splitlines())
    return {
        page: Session(text, folder)
        for page, text, folder in zip(PAGES, printed, folders, strict=True)
    }


def test_all_code_is_run():
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in DOCUMENTS[1:]}
    having = {page for page in pages if any(kind == "python" for kind, _ in _blocks(page))}
    # The first page is README, whose block is python.md's; the server's serves, below; and what
    # the command line has written is read in tests/cli.
    assert having - {"index.md", "server.md", "command-line.md"} == set(PAGES)


@pytest.mark.packaged
@pytest.mark.parametrize("page", PAGES)
def test_code_runs(page, sessions):
    assert "Traceback (most recent call last)" not in sessions[page].printed


@pytest.mark.packaged
def test_python(sessions):
    printed, folder = sessions["python.md"]
    assert PYTHON[0] == next(
        text for language, text in _blocks("python.md") if language == "python"
    )
    shown = next(text for kind, text in _blocks("python.md") if kind == "text")
    first, *_ = lines = printed.splitlines()
    assert _rounded(first) == _rounded(shown.strip())
    assert any(re.match(r"NEGATIVE \[\(' wonderful\.', 3\.", line) for line in lines)
    assert "('question', 'context')" in lines
    assert "Oslo" in lines
    assert sum("('NEGATIVE',)" in line or "('POSITIVE',)" in line for line in lines) == 3
    assert re.search(r"' wonderful\.' -?\d", printed)
    assert re.search(r"'\[SEP\]' None", printed)
    assert re.search(r"^Unknown method 'ig'", lines[-1])
    assert (folder / "why.png").read_bytes().startswith(b"\x89PNG")
    assert "wonderful" in (folder / "why.html").read_text("utf-8")


def _rounded(text: str) -> str:
    """With two digits after the point: the third depends on the machine."""
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.2f}", text)


@pytest.mark.packaged
def test_json(sessions):
    first, second = sessions["explanation-json.md"].printed.splitlines()
    assert first.startswith("('NEGATIVE',) [(' dull,', 0.07")
    assert {"method", "scores", "tokens"} <= set(ast.literal_eval(second))


@pytest.mark.packaged
def test_reports(sessions):
    assert sessions["reports.md"].printed == "True\nTrue\n"


def _beside(page: str) -> list[tuple[str, str]]:
    """Their code and ours, where they stand side by side."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    pattern = r'^<div class="beside" markdown>\n(.*?)^</div>'
    pairs = re.findall(pattern, text, re.DOTALL | re.MULTILINE)
    assert len(pairs) == text.count('class="beside"')
    found = []
    for pair in pairs:
        blocks = re.findall(r"^```\w+\n(.*?)^```", pair, re.DOTALL | re.MULTILINE)
        theirs, ours = blocks
        found.append((theirs, ours))
    return found


def _lines(code: str) -> int:
    """Lines of code: not those that are empty, or comments."""
    return sum(1 for line in code.splitlines() if line.strip() and not line.strip().startswith("#"))


@pytest.mark.parametrize(
    "page", [path.name for path in sorted((ROOT / "docs" / "coming-from").glob("*.md"))]
)
def test_ours_is_as_short(page):
    """Each example of theirs has its counterpart, of at most as many lines."""
    pairs = _beside(f"coming-from/{page}")
    longer = [ours for theirs, ours in pairs if _lines(ours) > _lines(theirs)]
    assert pairs
    assert longer == []


# What its README (0.10.0) shows for texts: each explainer, and what is asked of it.
TRANSFORMERS_INTERPRET = (
    "SequenceClassificationExplainer(",
    "cls_explainer.predicted_class_index",
    "cls_explainer.predicted_class_name",
    'class_name="NEGATIVE"',
    "PairwiseSequenceClassificationExplainer(",
    "flip_sign=True",
    "MultiLabelClassificationExplainer(",
    "ZeroShotClassificationExplainer(",
    "zero_shot_explainer.predicted_label",
    "QuestionAnsweringExplainer(",
    "qa_explainer.predicted_answer",
    "TokenClassificationExplainer(",
    'visualize("distilbert_viz.html")',
    'visualize("distilbert_negative_attr.html")',
    'visualize("cross_encoder_attr.html")',
    'visualize("multilabel_viz.html")',
    'visualize("zero_shot.html")',
    'visualize("bert_qa_viz.html")',
    'visualize("bert_ner_viz.html")',
)


@pytest.mark.parametrize("example", TRANSFORMERS_INTERPRET)
def test_every_example_of_transformers_interpret_is_there(example):
    theirs = [code for code, _ in _beside("coming-from/transformers-interpret.md")]
    assert any(example in code for code in theirs)


@pytest.mark.packaged
def test_coming_from_transformers_interpret(sessions):
    printed, folder = sessions["coming-from/transformers-interpret.md"]
    starts = (
        r"<Explanation of POSITIVE by integrated_gradients: ' love",
        r"\(1,\)$",
        r"\('POSITIVE',\)$",
        r"\{'NEGATIVE': 0\.\d+, 'POSITIVE': 0\.\d+\}$",
        r"<Explanation of RELEVANT by integrated_gradients: ' population'",
        r"\{'NEGATIVE': array\(\[",
        r"\[<Explanation of finance by .*<Explanation of technology by .*<Explanation of sports by",
        r"\('(?:finance|technology|sports)',\)$",
        r"\{'start of Lisbon': array\(\[",
        r"Lisbon$",
        r"\{'B-GIVEN_NAME of Emmanuel': array\(\[",
    )
    for start in starts:
        assert re.search(f"^{start}", printed, re.MULTILINE), (start, printed)
    files = {path.name for path in folder.iterdir()}
    names = "sentiment negative pair labels zero_shot answer tags"
    assert files == {f"{name}.html" for name in names.split()}


@pytest.mark.packaged
def test_coming_from_captum(sessions):
    """Captum's numbers and ours are the same."""
    difference, sums = sessions["coming-from/captum.md"].printed.splitlines()
    assert float(difference) < 1e-5
    theirs, ours = map(float, sums.split())
    assert theirs == pytest.approx(ours, abs=1e-5)


@pytest.mark.packaged
def test_coming_from_inseq(sessions):
    printed, folder = sessions["coming-from/inseq.md"]
    last = printed.splitlines()[-1]
    assert re.match(r"-?\d+\.\d+ \[\('", last)
    assert "France" in (folder / "france.html").read_text("utf-8")


@pytest.mark.packaged
def test_coming_from_lit(sessions):
    printed = sessions["coming-from/lit.md"].printed
    assert re.search(r"<LitWidget at \S+: models sentiment; datasets explained>", printed)


@pytest.mark.packaged
def test_labels_tags_and_answers(sessions):
    printed = sessions["classifiers.md"].printed.splitlines()
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
def test_explanations(sessions):
    output = sessions["explanations.md"].printed
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
