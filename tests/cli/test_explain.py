"""`lit-plugins explain` and `predict`: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import encoders
import numpy as np
import pytest

import lit_plugins
from lit_plugins.attribution import exchange
from lit_plugins.cli import explain, writing
from lit_plugins.cli.main import main
from lit_plugins.cli.running import CHUNK

ROOT = Path(__file__).resolve().parents[2]
FAST = "--method=grad_dot_input"
A, B, C = "we visit paris", "two dogs and a cat", "ada lives in oslo"


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def explained(give, model):
    """The lines that a command writes to standard output, and how it ends."""

    def command(*arguments, **expected):
        code, out, err = give("explain", model, *arguments, "-q")
        assert code == expected.get("code", 0), err
        return lines(out), err

    return command


# --- What comes out


def test_a_line_is_what_python_gives(explained, model, texts):
    texts(3, label="MIXED")
    found, _ = explained("in.jsonl", "--steps=7", "--target=POSITIVE", "--contrast=NEGATIVE")
    inputs = [json.loads(line)["text"] for line in Path("in.jsonl").read_text().splitlines()]
    made = lit_plugins.load(model).explain_all(
        inputs, steps=7, target="POSITIVE", contrast="NEGATIVE"
    )
    assert [one.pop("record") for one in found] == [
        {"number": number, "id": f"r{number}", "label": "MIXED"} for number in (1, 2, 3)
    ]
    for line, one in zip(found, made, strict=True):
        expected = exchange.record(one)
        del expected["seconds"]
        assert line == json.loads(json.dumps(expected))
        assert exchange.from_record(line).top(1) == one.top(1)


def test_every_option_reaches_the_engine(explained, texts):
    texts(1)
    more = ["--method=gradient_shap", "--unit=token", "--output=prob", "--baseline=mask"]
    [line], _ = explained("in.jsonl", *more, "--option=samples=3", "--option=noise=0.25")
    options = line["options"]
    assert line["method"] == "gradient_shap"
    assert line["units"] == "probability"
    assert (options["baseline"], options["samples"], options["noise"]) == ("mask", 3, 0.25)
    assert options["segment"] == "token"
    [line], _ = explained("in.jsonl", FAST, "--each", "--unit=default")
    assert np.shape(line["scores"]) == (3, len(line["segments"]))
    assert "segment" not in line["options"]


def test_each_record_has_its_target(explained, here):
    records = [{"text": A, "want": "MIXED"}, {"text": B, "want": "POSITIVE"}, {"text": C}]
    Path("in.jsonl").write_text("\n".join(map(json.dumps, records)))
    found, err = explained("in.jsonl", FAST, "--target-column=want", code=3)
    assert [one["names"] for one in found] == [["MIXED"], ["POSITIVE"]]
    assert err.startswith("in.jsonl:3: want: is missing")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".html"])
def test_files(give, model, texts, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    texts(40, label="MIXED")
    code, out, err = give("explain", model, "in.jsonl", "-o", f"out{suffix}", FAST)
    assert (code, out) == (0, "")
    assert f"40 results in out{suffix}" in err
    assert "40/40" in err  # the progress
    assert {path.name for path in Path().iterdir()} == {"in.jsonl", f"out{suffix}"}
    content = Path(f"out{suffix}").read_bytes()
    if suffix == ".html":
        assert content.startswith(b"<!DOCTYPE html>")
        assert b"<script" not in content
    elif suffix == ".jsonl":
        assert [one["record"]["number"] for one in lines(content)] == list(range(1, 41))
    else:
        from pyarrow import parquet

        table = parquet.read_table("out.parquet").to_pylist()
        assert [row["record"] for row in table] == list(range(1, 41))
        assert table[3]["id"] == "r4"
        assert table[3]["label"] == "MIXED"
        assert len(table[3]["scores"]) == len(table[3]["parts"])
        assert sum(table[3]["scores"]) == pytest.approx(sum(table[3]["scores"]))
        assert json.loads(table[3]["options"])["segment"] == "word"


def test_parquet_joins_kinds(here):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [
        {"record": {"number": 1}, "a": 1, "b": "x", "c": [], "d": {"e": 1}, "f": None, "g": 1},
        {"record": {"number": 2, "id": 7}, "a": 2.5, "b": "y", "c": [1, 2.5], "d": None, "g": "x"},
    ]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    writing.to_parquet(Path("rows.jsonl"), Path("rows.parquet"))
    assert parquet.read_table("rows.parquet").to_pylist() == [
        {"record": 1, "a": 1.0, "b": "x", "c": [], "d": '{"e": 1}', "f": None, "g": "1",
         "id": None},
        {"record": 2, "a": 2.5, "b": "y", "c": [1.0, 2.5], "d": None, "f": None, "g": '"x"',
         "id": 7},
    ]  # fmt: skip


def test_predictions(give, model, texts):
    texts(CHUNK + 3, label="MIXED")
    code, out, _ = give("predict", model, "in.jsonl", "-q")
    assert code == 0
    found = lines(out)
    inputs = [json.loads(line)["text"] for line in Path("in.jsonl").read_text().splitlines()]
    expected = lit_plugins.load(model).predict(inputs[:CHUNK])
    assert found[0]["record"] == {"number": 1, "id": "r1", "label": "MIXED"}
    for line, one in zip(found, expected, strict=False):
        assert {key: value for key, value in line.items() if key != "record"} == one
    code, _, err = give("predict", model, "in.jsonl", "-o", "out.parquet")
    assert code == 0, err


# --- What goes in

_CSV = f'id,text,label\n7,{A},MIXED\n8,"{B}\nwhere",POSITIVE\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", f'{{"text": "{A}"}}\n\n{{"text": "{B}\\nwhere"}}'.encode()),
        ("a.jsonl", b"\xef\xbb\xbf" + f'{{"text": "{A}"}}\r\n{{"text": "{B}\\nwhere"}}'.encode()),
        (
            "a.jsonl.gz",
            gzip.compress(f'{{"text": "{A}"}}\n{{"text": "{B}\\nwhere"}}'.encode(), mtime=0),
        ),
        ("a.csv", _CSV.encode()),
        ("a.csv?encoding=utf-16", _CSV.encode("utf-16")),
        ("a.tsv", _CSV.replace(",", "\t").encode()),
        ("a.csv?columns=review:text", _CSV.replace("text", "review").encode()),
        ("a.txt", f"{A}\n{B}\twhere\n".encode()),
    ],
)
def test_kinds_of_files(explained, here, name, content):
    Path(name.partition("?")[0]).write_bytes(content)
    found, _ = explained(name, FAST)
    texts = [one["inputs"]["text"].split() for one in found]
    assert texts == [A.split(), [*B.split(), "where"]]


def test_parquet_in(explained, here):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"id": 1, "text": A, "when": None}, {"id": 2, "text": None, "when": 3}]
    parquet.write_table(arrow.Table.from_pylist(rows), "in.parquet")
    found, err = explained("in.parquet", FAST, code=3)
    assert [one["record"] for one in found] == [{"number": 1, "id": 1}]
    assert err.startswith("in.parquet:2: text: is None, expected text")
    Path("bad.parquet").write_bytes(b"PAR1")
    [line] = [explained("bad.parquet", code=2)[1]]
    assert "cannot be read as parquet" in line


@pytest.mark.parametrize("argument", [["-"], []])
def test_standard_input(explained, here, monkeypatch, argument):
    text = f'{{"text": "{A}", "id": "é"}}\nno\n{{"text": "{C}"}}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    found, err = explained(*argument, FAST, code=3)
    assert [one["record"] for one in found] == [{"number": 1, "id": "é"}, {"number": 3}]
    assert err.startswith("standard input:2: is no JSON")


def test_interrupted_standard_input(give, model, here, monkeypatch):
    text = f'{{"text": "{A}"}}\n' * (CHUNK + 1)
    real, count = explain._forget, [0]

    def forget(explainer):
        count[0] += 1
        if count[0] == 2:
            raise KeyboardInterrupt
        real(explainer)

    monkeypatch.setattr(explain, "_forget", forget)
    command = ["explain", model, "-", "-o", "out.jsonl", FAST]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code, _, err = give(*command)
    assert code == 130
    assert f"{CHUNK} records, which lie in out.jsonl.partial" in err
    assert "cannot be read again" in err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code, _, err = give(*command)
    assert code == 2
    assert "--restart" in err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert give(*command, "--restart")[0] == 0
    assert Path("out.jsonl").read_bytes().count(b"\n") == CHUNK + 1


def test_limit(explained, texts):
    texts(10)
    assert len(explained("in.jsonl", FAST, "--limit=4")[0]) == 4
    assert len(explained("in.jsonl?max_examples=3", FAST, "--limit=4")[0]) == 3


def test_sample_sets_have_names(explained):
    found, _ = explained("movie_reviews", FAST, "--limit=2")
    assert found[0]["record"]["label"] == "NEGATIVE"


# --- Bad records

_BAD = {
    2: ('{"title": "x"}', "text", "is missing"),
    3: ("[1]", None, "expected an object"),
    5: ('{"text": 7, "id": "seven"}', "text", "expected text"),
    8: ('{"text": "\\ud800"}', "text", "surrogate"),
    9: (f'{{"text": "{"x" * 2**20}"}}', None, "longer than"),
}


def test_bad_records_and_what_becomes_of_the_others(give, model, texts):
    texts(12)
    whole = Path("in.jsonl").read_text().splitlines()
    mixed = list(whole)
    for number, (text, _, _) in _BAD.items():
        mixed[number - 1] = text
    Path("mixed.jsonl").write_text("\n".join(mixed))
    code, _, err = give("explain", model, "mixed.jsonl", "-o", "out.jsonl", FAST)
    assert code == 3
    assert "7 results in out.jsonl, 5 bad ones in out.jsonl.bad.jsonl" in err
    found = lines(Path("out.jsonl").read_text())
    assert [one["record"]["number"] for one in found] == [1, 4, 6, 7, 10, 11, 12]
    good = [text for number, text in enumerate(whole, 1) if number not in _BAD]
    assert [one["inputs"]["text"] for one in found] == [json.loads(x)["text"] for x in good]
    bad = lines(Path("out.jsonl.bad.jsonl").read_text())
    assert [(one["record"], one["line"], one["field"]) for one in bad] == [
        (number, number, field) for number, (_, field, _) in _BAD.items()
    ]
    for one, (_, _, reason) in zip(bad, _BAD.values(), strict=True):
        assert reason in one["reason"]
        assert one["file"] == "mixed.jsonl"
    assert bad[2]["id"] == "seven"


def test_one_unknown_target_loses_no_other(explained, here):
    labels = ["MIXED", "POSITIVE", "nope", "NEGATIVE", "MIXED"]
    rows = [{"text": A, "want": label} for label in labels]
    Path("in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found, err = explained("in.jsonl", FAST, "--target-column=want", code=3)
    assert [one["names"] for one in found] == [["MIXED"], ["POSITIVE"], ["NEGATIVE"], ["MIXED"]]
    assert "in.jsonl:3:" in err
    assert "nope" in err


def test_labels_that_are_none_harm_nothing(explained, here):
    Path("in.jsonl").write_text(json.dumps({"text": A, "label": True, "source": 5}))
    [line], _ = explained("in.jsonl", FAST)
    assert line["record"] == {"number": 1}


@pytest.mark.parametrize("content", ["", "\n\n", "{}\n[]\n"])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".html"])
def test_nothing_to_do(give, model, here, content, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    Path("in.jsonl").write_text(content)
    code, _, err = give("explain", model, "in.jsonl", "-o", f"out{suffix}", FAST)
    assert code == (3 if content.strip() else 0), err
    assert "0 results" in err
    assert Path(f"out{suffix}").exists()
    assert Path(f"out{suffix}.bad.jsonl").exists() == bool(content.strip())


# --- What is refused at once


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--method=integrated_gradient"], "Did you mean 'integrated_gradients'"),
        (["--option=stepz=3"], "Unknown option 'stepz'"),
        ([FAST, "--steps=3"], "grad_dot_input takes no option 'steps'"),
        (["--steps=x"], "whole number, or auto"),
        (["--output=softmax"], "output"),
        (["--output=why.jsonl"], "the file is given with -o"),
        (["--unit=letter"], "'letter' is not one of"),
        (["--option=steps"], "KEY=VALUE"),
        (["--steps=3", "--option=steps=4"], "Drop one"),
        (["--target=a", "--target-column=b"], "exclude each other"),
        (["-o", "why.pdf"], "unknown kind of file '.pdf'"),
        (["-o", "nowhere/why.jsonl"], "no folder nowhere"),
        (["-o", "in.jsonl"], "is the input itself"),
        (["-o", "/dev/null"], "unknown kind of file"),
        (["--limit=0"], "--limit"),
    ],
)
def test_what_is_wrong_with_all(fails, model, texts, more, reason):
    texts(2)
    assert reason in fails("explain", model, "in.jsonl", "-q", *more)
    assert {path.name for path in Path().iterdir()} == {"in.jsonl"}


@pytest.mark.parametrize(
    ("model_", "data", "reason"),
    [
        ("sentiment", "in.jsonl", "names no framework"),
        ("hf:packaged:sentimnt", "in.jsonl", "Did you mean 'sentiment'"),
        ("hf:./gone", "in.jsonl", "gone"),
        (None, "gone.jsonl", "does not exist"),
        (None, "in.xlsx", "unknown kind of file"),
        (None, "in.jsonl?colums=a:b", "Did you mean 'columns'"),
        (None, "in.jsonl?task=zero-shot", "the model is for text-classification"),
        (None, "in.csv", "no column 'text'"),
        (None, "cut.jsonl.gz", "cut off or damaged"),
    ],
)
def test_what_cannot_be_read(fails, model, texts, model_, data, reason):
    texts(2)
    Path("in.csv").write_text("a,b\n1,2\n")
    packed = gzip.compress(b'{"text": "we"}\n' * 1000)
    Path("cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    assert reason in fails("explain", model_ or model, data, "-o", "out.jsonl", "-q")
    assert not list(Path().glob("out.jsonl*"))


def test_what_costs_too_much(fails, model, texts):
    texts(2)
    line = fails(
        "explain", f"{model}?max_explanation_seconds=0.001", "in.jsonl", "-o", "out.jsonl", "-q"
    )
    assert "The first record alone would take" in line
    assert "max_explanation_seconds" in line


def test_the_same_wrong_with_every_record(fails, model, texts):
    texts(CHUNK + 1)
    line = fails("explain", model, "in.jsonl", "-o", "out.jsonl", "-q", "--target=GOOD")
    assert line.startswith(f"None of the first {CHUNK} records can be processed:")
    assert "GOOD" in line
    texts(CHUNK + 1)
    Path("in.jsonl").write_text(Path("in.jsonl").read_text().replace('"text"', '"review"'))
    line = fails("explain", model, "in.jsonl", "-o", "out.jsonl", "-q")
    assert "text: is missing; the record has id, review: rename one (columns=OLD:text)" in line
    assert not list(Path().glob("out.jsonl*"))


def test_a_page_holds_so_many(fails, model, texts):
    texts(writing.PAGE + 1)
    line = fails("explain", model, "in.jsonl", "-o", "out.html", "-q")
    assert "201 explanations, and a page holds 200" in line
    assert "lit-plugins report out.jsonl" in line


def test_predictions_have_no_page(fails, model, texts):
    texts(1)
    assert "no page" in fails("predict", model, "in.jsonl", "-o", "out.html")


def test_pyarrow_is_an_extra(fails, model, texts, monkeypatch):
    texts(1)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'lit-plugins[report]'" in fails(
        "explain", model, "in.jsonl", "-o", "out.parquet", "-q"
    )


# --- Other tasks

_TASKS = {
    "tagger": ({"tokens": ["ada", "lives", "in", "oslo"], "tags": ["B-PER", "O", "O", "B-CITY"]},
               {"--span": "word 4", "--target": "B-CITY"}),
    "answerer": ({"question": "where is ada", "context": "ada lives in oslo",
                  "answers": ["oslo"]}, {"--target": "oslo"}),
    "zero_shot": ({"text": "ada visited paris", "candidate_labels": ["dogs", "paris"],
                   "label": "paris"}, {"--target": "paris"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", _TASKS)
def test_other_tasks(give, here, tmp_path_factory, kind):
    record, options = _TASKS[kind]
    made = getattr(encoders, kind)()
    folder = tmp_path_factory.mktemp(kind)
    made.model.save_pretrained(folder)
    encoders.tokenizer().save_pretrained(folder)
    Path("in.jsonl").write_text(json.dumps(record) + "\n")
    spec = f"hf:{folder}" + ("?task=zero-shot" if kind == "zero_shot" else "")
    given = [f"{key}={value}" for key, value in options.items()]
    code, out, err = give("explain", spec, "in.jsonl", FAST, "-q", *given)
    assert code == 0, err
    [line] = lines(out)
    assert options["--target"] in "".join(line["names"])
    gold = {"tags", "answers", "label"} & line["record"].keys()
    assert gold, line["record"]
    code, out, err = give("predict", spec, "in.jsonl", "-q")
    assert code == 0, err
    assert len(lines(out)) == 1


def test_closed_pipe(model, texts):
    """`lit-plugins explain … | head -1` is no error."""
    texts(200)
    command = [sys.executable, "-m", "lit_plugins", "explain", model, "in.jsonl", FAST, "-q"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["record"]["number"] == 1
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert "Error" not in process.stderr.read()
    process.stderr.close()


def test_ctrl_c(give, model, texts):
    """A real one, in a real process."""
    texts(3000)
    process = subprocess.Popen(
        [sys.executable, "-m", "lit_plugins", "explain", model, "in.jsonl", "-o", "out.jsonl"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    journal = Path("out.jsonl.journal")
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 3):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    done = (journal.read_bytes().count(b"\n") - 1) * CHUNK
    assert err.splitlines()[-1] == (
        f"Stopped after {done:,} of 3,000 records. The same command goes on from there."
    )
    assert "Traceback" not in err
    assert not Path("out.jsonl").exists()
    assert not Path("out.jsonl.lock").exists()


def test_a_defect_is_no_bad_record(model, texts, monkeypatch):
    texts(2)

    def broken(explainer):
        raise ZeroDivisionError

    monkeypatch.setattr(explain, "_forget", broken)
    with pytest.raises(ZeroDivisionError):
        main(["explain", model, "in.jsonl", "-q", FAST])
