"""The commands and the code of the documents, run."""

from __future__ import annotations

import ast
import os
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
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


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


def _session(page: str, folder: Path = ROOT) -> str:
    """What all blocks of Python of a page print, in their order, in one process."""
    code = [text for language, text in _blocks(page) if language == "python"]
    assert len(code) == (ROOT / "docs" / page).read_text(encoding="utf-8").count("```python")
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(code)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.packaged
def test_python(tmp_path):
    printed = _session("python.md", tmp_path)
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
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    assert "wonderful" in (tmp_path / "why.html").read_text("utf-8")


def _rounded(text: str) -> str:
    """With two digits after the point: the third depends on the machine."""
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.2f}", text)


def test_json(tmp_path):
    [example] = [text for language, text in _blocks("explanation-json.md") if language == "json"]
    (tmp_path / "why.json").write_text(example, "utf-8")
    first, second = _session("explanation-json.md", tmp_path).splitlines()
    assert first.startswith("('NEGATIVE',) [(' dull,', 0.07")
    assert {"method", "scores", "tokens"} <= set(ast.literal_eval(second))


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
def test_coming_from_transformers_interpret(tmp_path):
    printed = _session("coming-from/transformers-interpret.md", tmp_path)
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
    files = {path.name for path in tmp_path.iterdir()}
    names = "sentiment negative pair labels zero_shot answer tags"
    assert files == {f"{name}.html" for name in names.split()}


@pytest.mark.packaged
def test_coming_from_captum(tmp_path):
    """Captum's numbers and ours are the same."""
    difference, sums = _session("coming-from/captum.md", tmp_path).splitlines()
    assert float(difference) < 1e-5
    theirs, ours = map(float, sums.split())
    assert theirs == pytest.approx(ours, abs=1e-5)


@pytest.mark.packaged
def test_coming_from_inseq(tmp_path):
    last = _session("coming-from/inseq.md", tmp_path).splitlines()[-1]
    assert re.match(r"-?\d+\.\d+ \[\('", last)
    assert "France" in (tmp_path / "france.html").read_text("utf-8")


@pytest.mark.packaged
def test_coming_from_lit(tmp_path):
    printed = _session("coming-from/lit.md", tmp_path)
    assert re.search(r"<LitWidget at \S+: models sentiment; datasets explained>", printed)


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
