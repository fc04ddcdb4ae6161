"""Datasets: formats, types, limits, bad input, and what a client may load."""

import gzip
import io
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import types as lit_types
from lit_nlp.lib import serialize
from lit_nlp.lib import utils as lit_utils

from lit_plugins import datasets
from lit_plugins.errors import DataError, SpecError
from lit_plugins.records import show

SAMPLES = ("chat", "grade_school_maths", "headlines", "menu_advice")


def write(tmp_path: Path, content: str | bytes, name: str = "p.jsonl") -> Path:
    path = tmp_path / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def jsonl(*records) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


def error_of(path: Path, **options) -> str:
    with pytest.raises(DataError) as caught:
        datasets.load(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}:")
    assert "\n" not in message
    assert len(message) < 2000
    return message


# --- Formats ---

CONTENT = {
    "jsonl": '{"prompt": "a, b"}\n{"prompt": "Grüße"}\n',
    "txt": "a, b\nGrüße\n",
    "csv": 'prompt\n"a, b"\nGrüße\n',
    "tsv": "prompt\na, b\nGrüße\n",
}


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("kind", CONTENT)
def test_every_format_gives_the_same_prompts(tmp_path, kind, bom, ending, gz):
    text = bom + CONTENT[kind].replace("\n", ending)
    dataset = datasets.load(write(tmp_path, text, f"p.{kind}{gz}"))
    assert dataset.examples == [{"prompt": "a, b"}, {"prompt": "Grüße"}]
    assert dataset.spec() == {"prompt": lit_types.TextSegment()}
    assert dataset.name == "p"
    assert not dataset.problems
    assert not dataset.truncated


@pytest.mark.parametrize("kind", CONTENT)
def test_last_line_needs_no_newline_and_blank_lines_are_skipped(tmp_path, kind):
    text = CONTENT[kind].replace("\n", "\n\n").rstrip("\n")
    assert len(datasets.load(write(tmp_path, text, f"P.{kind.upper()}"))) == 2


def test_text_lines_keep_their_spaces(tmp_path):
    path = write(tmp_path, "  Answer: \n \t \n{not json}\n", "p.txt")
    prompts = [example["prompt"] for example in datasets.load(path).examples]
    assert prompts == ["  Answer: ", "{not json}"]


def test_csv_keeps_newlines_quotes_and_separators_in_quotes(tmp_path):
    path = write(
        tmp_path, 'prompt,n\r\n"one\r\ntwo, ""three""\r\n\r\nfour",1\r\nlast,2\r\n', "p.csv"
    )
    dataset = datasets.load(path)
    assert [x["prompt"] for x in dataset.examples] == ['one\ntwo, "three"\n\nfour', "last"]


@pytest.mark.parametrize(("encoding", "text"), [("latin-1", "é"), ("utf-16", "é日")])
def test_other_encodings_when_named(tmp_path, encoding, text):
    path = write(tmp_path, f"{text}\nx\n".encode(encoding), "p.txt")
    dataset = datasets.load(path, encoding=encoding)
    assert dataset.examples == [{"prompt": text}, {"prompt": "x"}]


def test_empty_prompt_is_a_prompt(tmp_path):
    assert datasets.load(write(tmp_path, '{"prompt": ""}')).examples == [{"prompt": ""}]


# --- Columns and types ---


def test_columns_are_kept_and_typed(tmp_path):
    base = {"b": True, "i": 3, "f": 0.5, "tags": ["x", "y"], "o": {"k": [1, None]}, "mixed": 1}
    path = write(
        tmp_path,
        jsonl(
            {"source": "s", **base, "prompt": "p1", "target": "t", "kind": "red"},
            {**base, "prompt": "p2", "i": -2, "f": 1, "tags": [], "mixed": "é", "kind": "red"},
            {"prompt": "p3", "b": False, "i": 9, "f": 2.5, "target": None, "kind": "blue"},
            {"prompt": "p4", "b": False, "i": 0, "f": 0, "mixed": True, "kind": "blue"},
        ),
    )
    dataset = datasets.load(path)
    assert dataset.spec() == {
        "prompt": lit_types.TextSegment(),
        "target": lit_types.TextSegment(),
        "source": lit_types.CategoryLabel(),
        "b": lit_types.Boolean(),
        "i": lit_types.Scalar(min_val=-2, max_val=9, default=-2, step=1),
        "f": lit_types.Scalar(min_val=0, max_val=2.5, default=0, step=0.01),
        "tags": lit_types.SparseMultilabel(),
        "o": lit_types.CategoryLabel(),
        "mixed": lit_types.TextSegment(),
        "kind": lit_types.CategoryLabel(),
    }
    rows = dataset.examples
    assert rows[0] == {
        "prompt": "p1", "target": "t", "source": "s", "b": True, "i": 3, "f": 0.5,
        "tags": ["x", "y"], "o": '{"k":[1,null]}', "mixed": "1", "kind": "red",
    }  # fmt: skip
    assert rows[1]["mixed"] == "é"
    assert rows[3]["mixed"] == "true"
    assert rows[2]["target"] == rows[2]["source"] == rows[2]["o"] == rows[2]["mixed"] == ""
    assert rows[2]["tags"] == []
    check_fits_its_spec(dataset)


def check_fits_its_spec(dataset: datasets.RecordDataset) -> None:
    """LIT wants every field of the spec in every example, and its client plain valid JSON."""
    for example in dataset.examples:
        assert list(example) == list(dataset.spec())
        for name, value in example.items():
            dataset.spec()[name].validate_input(value, dataset.spec(), example)
    indexed = lit_dataset.IndexedDataset(base=dataset, id_fn=lit_dataset.input_hash)
    sent = serialize.to_json(indexed.indexed_examples, simple=True, allow_nan=False)
    assert [row["data"]["prompt"] for row in json.loads(sent)] == [
        example["prompt"] for example in dataset.examples
    ]
    spec = json.loads(serialize.to_json(dataset.spec(), simple=True, allow_nan=False))
    # LIT's client builds its own class for each of these names, and knows no private ones.
    assert not any(value["__name__"].startswith("_") for value in spec.values())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.5], "Scalar"),
        ([1, None], "text"),  # no number stands for one that is missing
        ([True, None], "text"),
        ([True, 1], "text"),
        ([2**53, 1], "Scalar"),
        ([2**53 + 1, 1], "text"),
        ([[], None], "SparseMultilabel"),
        ([["a"], "a"], "text"),
        ([["a"], [1]], "text"),
        ([None, None], "text"),
    ],
)
def test_type_of_a_column(tmp_path, values, expected):
    records = [{"prompt": str(i), "x": value} for i, value in enumerate(values)]
    dataset = datasets.load(write(tmp_path, jsonl(*records)))
    found = type(dataset.spec()["x"]).__name__
    assert {"TextSegment": "text", "CategoryLabel": "text"}.get(found, found) == expected
    check_fits_its_spec(dataset)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "a"], lit_types.CategoryLabel),
        (["a", "b"], lit_types.TextSegment),
        (["a" * 51, "a" * 51], lit_types.TextSegment),
        ([str(i % 20) for i in range(40)], lit_types.CategoryLabel),
        ([str(i % 21) for i in range(80)], lit_types.TextSegment),
    ],
)
def test_few_short_repeated_texts_are_a_category(tmp_path, values, expected):
    records = [{"prompt": str(i), "x": value} for i, value in enumerate(values)]
    spec = datasets.load(write(tmp_path, jsonl(*records))).spec()
    assert type(spec["x"]) is expected


def test_csv_columns_are_typed_only_if_every_cell_fits(tmp_path):
    path = write(
        tmp_path,
        "prompt,int,float,bool,code,gap,word,target\n"
        "42,1,1.5,true,007,1,true,\n"
        "x,-2,2e3,false,123,,1,\n",
        "p.csv",
    )
    dataset = datasets.load(path)
    assert dataset.examples == [
        {"prompt": "42", "int": 1, "float": 1.5, "bool": True, "code": "007", "gap": "1",
         "word": "true"},
        {"prompt": "x", "int": -2, "float": 2000.0, "bool": False, "code": "123", "gap": "",
         "word": "1"},
    ]  # fmt: skip
    check_fits_its_spec(dataset)


def test_target_and_source_are_in_the_spec_only_if_some_record_has_one(tmp_path):
    nothing = {"prompt": "a", "target": None, "source": ""}
    assert list(datasets.load(write(tmp_path, jsonl(nothing))).spec()) == ["prompt"]
    both = {"prompt": "b", "target": "t", "source": "s"}
    dataset = datasets.load(write(tmp_path, jsonl(nothing, both)))
    assert dataset.examples[0] == {"prompt": "a", "target": "", "source": ""}


def test_fields_fit_what_language_models_ask_for(tmp_path):
    spec = datasets.load(write(tmp_path, jsonl({"prompt": "a", "target": "t"}))).spec()
    assert spec["prompt"].is_compatible(lit_types.TextSegment())
    assert spec["target"].is_compatible(lit_types.TextSegment(required=False))


def test_columns_can_be_renamed(tmp_path):
    path = write(tmp_path, jsonl({"q": "a", "_id": 1}, {"q": "b", "_id": 2}))
    dataset = datasets.load(path, columns={"q": "prompt", "_id": "number"})
    assert dataset.examples == [{"prompt": "a", "number": 1}, {"prompt": "b", "number": 2}]
    path = write(tmp_path, "q,tokens\na,5\n", "p.csv")
    dataset = datasets.load(path, columns={"q": "prompt", "tokens": "count"})
    assert dataset.examples == [{"prompt": "a", "count": 5}]
    message = error_of(path, columns={"q": "prompt", "tokens": "count", "zz": "y"})
    assert "no record has a column 'zz' to rename" in message
    message = error_of(path, columns={"q": "prompt", "tokens": "prompt"})
    assert "column 'prompt' stands there twice" in message
    path = write(tmp_path, jsonl({"q": "a", "prompt": "b"}))
    assert "p.jsonl:1: prompt: stands there twice" in error_of(path, columns={"q": "prompt"})


@pytest.mark.parametrize("name", ["_id", "_meta", "__proto__", *sorted(datasets.RESERVED)])
def test_names_that_lit_uses_are_refused(tmp_path, name):
    message = error_of(write(tmp_path, jsonl({"prompt": "a", name: 1})))
    assert f"p.jsonl:1: '{name}': LIT uses this name itself; rename it" in message


@pytest.mark.parametrize("name", ["", " ", "<img src=x>", "[a](b)", "x" * 101, "a\nb", "a\ud800"])
def test_names_that_could_harm_the_page_are_refused(tmp_path, name):
    message = error_of(write(tmp_path, jsonl({"prompt": "a", name: 1})))
    assert "cannot be a column's name" in message


def test_too_many_columns(tmp_path):
    record = {"prompt": "a", **{f"c{i}": i for i in range(63)}}
    assert len(datasets.load(write(tmp_path, jsonl(record))).spec()) == 64
    path = write(tmp_path, jsonl(record, {"prompt": "b", "c99": 1}))
    assert "p.jsonl:2: 'c99': is one column too many; at most 64" in error_of(path)


# --- Bad records ---

GOOD = '{"prompt": "good"}'

BAD_LINES = {
    "broken": ('{"prompt": "a"', "p.jsonl:2: is no JSON: Expecting ',' delimiter at column 15"),
    "two objects": (GOOD + GOOD, "is no JSON: Extra data at column 19"),
    "list": ('["a"]', "is ['a'], expected an object"),
    "null": ("null", "is None, expected an object"),
    "text": ('"a"', "is 'a', expected an object"),
    "no prompt": ('{"text": "a", "n": 1}', "prompt: is missing; the record has text, n"),
    "empty object": ("{}", "prompt: is missing; the record is empty"),
    "number": ('{"prompt": 42}', "prompt: is 42, expected text in quotes"),
    "null prompt": ('{"prompt": null}', "prompt: is None, expected text"),
    "list prompt": ('{"prompt": ["a"]}', "prompt: is ['a'], expected text"),
    "object prompt": ('{"prompt": "a", "target": 7}', "target: is 7, expected text"),
    "bool source": ('{"prompt": "a", "source": true}', "source: is True, expected text"),
    "NUL byte": ('{"prompt": "a\0"}', "holds a NUL byte at column 14"),
    "NUL escape": ('{"prompt": "a\\u0000"}', "prompt: holds a NUL character"),
    "NaN": ('{"prompt": "a", "x": NaN}', "NaN is no JSON number"),
    "Infinity": ('{"prompt": "a", "x": [-Infinity]}', "-Infinity is no JSON number"),
    "overflow": ('{"prompt": "a", "x": 1e999}', "number '1e999' is out of range"),
    "digits": ('{"prompt": "a", "x": ' + "9" * 5000 + "}", "thousands of digits"),
    "surrogate": ('{"prompt": "a\\ud800"}', "prompt: holds half a surrogate pair"),
    "deep surrogate": ('{"prompt": "a", "x": [{"y": "\\udfff"}]}', "x: holds half a surrogate"),
    "list surrogate": ('{"prompt": "a", "x": ["\\udfff"]}', "x: holds half a surrogate"),
    "deep": ('{"prompt": "a", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    "double key": ('{"prompt": "a", "prompt": "b"}', "'prompt': stands there twice"),
    "deep double key": ('{"prompt": "a", "x": {"k": 1, "k": 2}}', "'k': stands there twice"),
    "latin-1": (b'{"prompt": "caf\xe9"}', "is not utf-8: byte 0xe9 at column 16"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_line_is_named_and_the_good_ones_counted(tmp_path, case):
    line, expected = BAD_LINES[case]
    line = line if isinstance(line, bytes) else line.encode()
    path = write(tmp_path, b"\n".join([GOOD.encode(), line, GOOD.encode()]))
    message = error_of(path)
    assert expected in message
    assert "Of 3 records 1 bad, 2 good." in message
    assert "p.jsonl:2: " in message
    assert "skip_bad=true" in message
    dataset = datasets.load(path, skip_bad=True)
    assert [example["prompt"] for example in dataset.examples] == ["good", "good"]
    assert dataset.bad == len(dataset.problems) == 1
    assert dataset.problems[0].startswith("p.jsonl:2: ")
    assert expected in dataset.problems[0] or expected in message
    assert "Left out: 1 bad record." in dataset.description().splitlines()[0]


def test_many_bad_lines_show_the_first_few(tmp_path):
    path = write(tmp_path, "\n".join(["{", "{"] * 80 + [GOOD]))
    message = error_of(path)
    assert "Of 161 records 160 bad, 1 good." in message
    assert message.count("p.jsonl:") == 6  # the file itself and five lines
    dataset = datasets.load(path, skip_bad=True)
    assert (dataset.bad, len(dataset.problems)) == (160, 100)


def test_skipping_needs_something_good(tmp_path):
    message = error_of(write(tmp_path, "{\n"), skip_bad=True)
    assert "holds no prompts or other records. Of 1 records 1 bad, 0 good." in message


def test_problem_columns_of_bad_records_leave_no_trace(tmp_path):
    path = write(tmp_path, jsonl({"prompt": "a"}, {"prompt": 1, "extra": 1}))
    assert list(datasets.load(path, skip_bad=True).spec()) == ["prompt"]


def test_line_of_fifty_megabytes_takes_little_memory(tmp_path):
    path = tmp_path / "p.jsonl"
    with path.open("wb") as file:
        file.write(GOOD.encode() + b'\n{"prompt": "')
        for _ in range(50):
            file.write(b"x" * 2**20)
        file.write(b'"}\n' + GOOD.encode())
    tracemalloc.start()
    message = error_of(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "p.jsonl:2: is longer than 1048576 characters" in message
    assert "Of 3 records 1 bad, 2 good." in message
    assert peak < 16 * 2**20
    assert len(datasets.load(path, skip_bad=True)) == 2


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_longest_line_allowed(tmp_path, ending):
    path = write(tmp_path, "a\n" + "x" * 10 + ending, "p.txt")
    assert len(datasets.load(path, max_line=10)) == 2
    assert "p.txt:2: is longer than 9 characters" in error_of(path, max_line=9)


def test_gzip_bomb_is_stopped(tmp_path):
    path = write(tmp_path, b'{"prompt": "a"}\n' + b"0" * (80 * 2**20), "p.jsonl.gz")
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    message = error_of(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "holds more than 67108864 bytes of text" in message
    assert peak < 16 * 2**20


def test_max_bytes_counts_the_good_records_before(tmp_path):
    message = error_of(write(tmp_path, f"{GOOD}\n" * 2000), max_bytes=20_000)
    assert "holds more than 20000 bytes of text; split the file, or raise max_bytes" in message
    assert "Good records before: " in message


@pytest.mark.parametrize("kind", CONTENT)
def test_max_examples_stops_the_reading_and_says_so(tmp_path, kind):
    path = write(tmp_path, CONTENT[kind] + "third\n", f"p.{kind}")
    dataset = datasets.load(path, max_examples=1)
    assert len(dataset) == 1
    assert dataset.truncated
    assert dataset.description().startswith("The first 1 prompt from p.")
    assert "max_examples is 1" in dataset.description()
    whole = datasets.load(write(tmp_path, CONTENT[kind], f"p.{kind}"), max_examples=2)
    assert not whole.truncated
    assert whole.description().startswith("2 prompts from p.")


# --- Files that are no datasets ---


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("p.jsonl", b"", "holds no prompts"),
        ("p.txt", b"\n \n\t\r\n", "holds no prompts"),
        ("p.csv", b"", "holds no prompts"),
        ("p.csv", b"prompt\n", "holds no prompts"),
        ("p.jsonl.gz", b"", "holds no prompts"),
        ("p.json", b"[]", "unknown kind of file '.json'; expected one of .jsonl, .txt, .csv, .tsv"),
        ("p", b"x", "unknown kind of file ''"),
        ("p.gz", b"x", "unknown kind of file '.gz'"),
        ("p.jsonl", '{"prompt": "a"}'.encode("utf-16"), "is UTF-16, expected UTF-8"),
        ("p.txt", "a\n".encode("utf-16-be"), "p.txt:1: holds a NUL byte at column 1"),
        ("p.csv", b"body,n\na,1\n", "line 1: the header shows no task; it has body, n. Rename"),
        ("p.csv", b"prompt;n\na;1\n", "separate by ','"),
        ("p.csv", b"prompt,n,n\na,1,2\n", "the column 'n' stands there twice"),
        ("p.csv", b"prompt,n\na,1\nb\nc,2\n", "p.csv:3: has 1 fields, expected 2 (prompt, n)"),
        ("p.csv", b"prompt,n\na,1\nb,2,3\n", "p.csv:3: has 3 fields, expected 2"),
        ("p.csv", b'prompt,n\na,1\n"b"c,2\nd,3\n', "p.csv:3: is no CSV"),
        ("p.csv", b'prompt,n\na,1\n"b,2\nd,3\n', "p.csv:3: is no CSV: unexpected end of data"),
        ("p.csv", b'"prompt,n\na,1\n', "is no CSV header"),
        ("p.csv", b"prompt,n\na,1\n" + b"x" * 140_000 + b",2\n", "for longer text use .jsonl"),
        ("p.csv", b"prompt,_id\na,1\n", "'_id': LIT uses this name itself"),
        ("p.csv", b"prompt,n\na\xe9,1\n", "p.csv:2: is not utf-8"),
    ],
)
def test_unusable_content(tmp_path, name, content, expected):
    assert expected in error_of(write(tmp_path, content, name))


def test_csv_goes_on_after_a_bad_record(tmp_path):
    text = b'prompt,n\na,1\nb\n"c"c,1\nd\xe9,1\n\ne,2\nf,3,4\n'
    dataset = datasets.load(write(tmp_path, text, "p.csv"), skip_bad=True)
    assert dataset.examples == [{"prompt": "a", "n": 1}, {"prompt": "e", "n": 2}]
    assert [problem.split(":")[1] for problem in dataset.problems] == ["3", "4", "5", "8"]


def test_unusable_files(tmp_path):
    assert "does not exist" in error_of(tmp_path / "none.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    assert "is a folder" in error_of(tmp_path / "folder.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "is not a regular file" in error_of(tmp_path / "pipe.jsonl")
    (tmp_path / "plain.jsonl.gz").write_text(GOOD)
    assert "is not a gzip file" in error_of(tmp_path / "plain.jsonl.gz")
    assert "cannot be read" in error_of(tmp_path / f"{'x' * 300}.jsonl")
    assert "cannot be read" in error_of(tmp_path / "a\0b.jsonl")
    text = "".join(f'{{"prompt": "{os.urandom(40).hex()}"}}\n' for _ in range(2000))
    whole = gzip.compress(text.encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    message = error_of(tmp_path / "cut.jsonl.gz", max_examples=5000)
    assert (
        "is a gzip file that is cut off or damaged; copy it again. Good records before:" in message
    )
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 50] = b"\xff" * 50
    (tmp_path / "bad.jsonl.gz").write_bytes(damaged)
    assert "damaged" in error_of(tmp_path / "bad.jsonl.gz", max_examples=5000)


def test_damaged_utf16_is_an_error(tmp_path):
    path = write(tmp_path, "ab".encode("utf-16") + b"\x00", "p.txt")
    assert "is not utf-16" in error_of(path, encoding="utf-16")


@pytest.mark.parametrize(
    "options", [{"max_examples": 0}, {"encoding": "klingon"}, {"encoding": "rot13"}]
)
def test_load_checks_its_arguments(tmp_path, options):
    with pytest.raises(SpecError, match=next(iter(options))):
        datasets.load(write(tmp_path, GOOD), **options)


# --- What a client can do ---


def test_no_path_of_a_client_reaches_the_disk(tmp_path):
    dataset = datasets.load(write(tmp_path, GOOD))
    indexed = lit_dataset.IndexedDataset(base=dataset, id_fn=lit_dataset.input_hash)
    for each in (dataset, indexed, dataset.slice[:1]):
        with pytest.raises(DataError):
            each.load(str(tmp_path / "p"))
        with pytest.raises(DataError):
            each.save([], str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["p.jsonl"]
    assert datasets.RecordDataset.init_spec() is None


def test_description_shows_names_and_no_markup(tmp_path):
    path = write(tmp_path, GOOD + '\n{"<b>": 1}\n', "<img src=x onerror=alert(1)>.jsonl")
    text = datasets.load(path, skip_bad=True).description()
    assert "<" not in text
    assert "&#60;img src" in text
    assert "Fields: prompt (TextSegment)." in text


@pytest.fixture
def folders(tmp_path):
    """Two allowed folders, and a secret beside them."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    write(tmp_path / "first", jsonl({"prompt": "one"}, {"prompt": "two"}), "a.jsonl")
    (tmp_path / "second" / "deep").mkdir()
    write(tmp_path / "second" / "deep", "three\n", "b.txt")
    write(tmp_path, GOOD, "secret.jsonl")
    (tmp_path / "first" / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (tmp_path / "first" / "inner.txt").symlink_to(tmp_path / "second" / "deep" / "b.txt")
    (tmp_path / "first" / "loop.jsonl").symlink_to(tmp_path / "first" / "loop.jsonl")
    os.mkfifo(tmp_path / "first" / "pipe.jsonl")
    return [tmp_path / "first", tmp_path / "second"]


def prompts_of(loader, *args, **kwargs) -> list[str]:
    return [example["prompt"] for example in loader(*args, **kwargs).examples]


def test_loader_opens_files_of_allowed_folders(folders):
    loader, spec = datasets.loaders(folders)["records"]
    assert prompts_of(loader, path="a.jsonl", max_examples=1.0) == ["one"]
    assert prompts_of(loader, path=" deep/b.txt ") == ["three"]
    assert prompts_of(loader, path="inner.txt") == ["three"]
    assert prompts_of(loader, path=str(folders[0] / "a.jsonl")) == ["one", "two"]
    assert prompts_of(loader, path="../second/deep/b.txt") == ["three"]
    assert len(loader(path="menu_advice")) >= 3
    assert set(spec) == {"path", "task", "columns", "labels", "max_examples", "skip_bad"}
    json.dumps(serialize.to_json(spec, simple=True))


def test_loader_tells_outside_and_missing_apart_from_nothing(folders, tmp_path):
    loader, _ = datasets.loaders(folders)["records"]
    messages = set()
    for path in (
        "nothing.jsonl", "../secret.jsonl", "../nothing.jsonl", "link.jsonl", "loop.jsonl",
        "pipe.jsonl", "deep", ".", "/etc/passwd", "~/x.jsonl", "a\0b.jsonl", "x" * 5000, "\ud800",
        "/proc/self/environ", "http://localhost/x.jsonl", str(tmp_path / "secret.jsonl"),
        str(tmp_path / "first-other" / "a.jsonl"),
    ):  # fmt: skip
        with pytest.raises(DataError) as caught:
            loader(path=path)
        message = str(caught.value)
        assert str(tmp_path) not in message.replace(path, "")
        assert "allowed folders: first, second." in message
        messages.add(message.replace(show(path), "PATH"))
    assert len(messages) == 1


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"path": 3},
        {"path": None},
        {"path": "a.jsonl", "max_examples": 0},
        {"path": "a.jsonl", "max_examples": 10**9},
        {"path": "a.jsonl", "max_examples": 1.5},
        {"path": "a.jsonl", "max_examples": float("nan")},
        {"path": "a.jsonl", "max_examples": "5"},
        {"path": "a.jsonl", "max_examples": True},
        {"path": "a.jsonl", "skip_bad": "yes"},
    ],
)
def test_loader_checks_what_clients_send(folders, config):
    with pytest.raises(DataError, match="expected"):
        datasets.loaders(folders)["records"][0](**config)


def test_loader_errors_do_not_name_the_servers_folders(folders, tmp_path):
    write(folders[0], "{", "broken.jsonl")
    with pytest.raises(DataError) as caught:
        datasets.loaders(folders)["records"][0](path="broken.jsonl")
    assert str(caught.value).startswith("broken.jsonl: Of 1 records 1 bad")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.filterwarnings("ignore:The set_:PendingDeprecationWarning")  # shap's
def test_lit_creates_a_dataset_with_the_loader(folders):
    from lit_nlp import app as lit_app

    app = lit_app.LitApp(
        models={},
        datasets={},
        dataset_loaders=datasets.loaders(folders),
        client_root=str(folders[0]),
    )
    config = {"new_name": "mine", "path": "a.jsonl", "max_examples": 100, "skip_bad": False}
    info, name = app._create_dataset({"config": config}, dataset_name="records")
    assert name == "mine"
    assert info["datasets"]["mine"]["size"] == 2
    spec = datasets.loaders(folders)["records"][1]
    lit_utils.validate_config_against_spec(
        {"path": "a.jsonl"}, spec, "x", raise_for_unsupported=True
    )


# --- Specs ---


def test_parse_dataset():
    spec = datasets.parse_dataset(
        "mine=data/p.csv?max_examples=5,skip_bad=true&columns=a:prompt,columns=b:target"
    )
    assert (spec.name, spec.path) == ("mine", Path("data/p.csv"))
    assert spec.options.max_examples == 5
    assert spec.options.skip_bad is True
    assert spec.options.columns == {"a": "prompt", "b": "target"}
    assert datasets.parse_dataset("menu_advice").path == datasets.samples()["menu_advice"]
    named = datasets.parse_dataset("m=menu_advice?max_examples=2")
    assert named.name == "m"
    assert len(named.load()) == 2
    assert datasets.parse_dataset("a/My prompts.v2.jsonl.gz").name == "My-prompts.v2"
    assert datasets.parse_dataset("/x/a=b.jsonl").path == Path("/x/a=b.jsonl")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no path; expected NAME=PATH, PATH, or a sample set: chat, "),
        ("a=", "has no path"),
        ("=x.jsonl", "Dataset name '' in"),
        ("_a=x.jsonl", "Dataset name '_a' in"),
        ("a b=x.jsonl", "Dataset name 'a b' in"),
        ("a=x.jsonl?max_exmples=5", "Unknown option 'max_exmples'. Did you mean 'max_examples'?"),
        ("a=x.jsonl?zzz=5", "Options: max_examples, max_bytes, max_line, encoding, task, columns"),
        ("a=x.jsonl?max_examples=many", "Option max_examples='many': "),
        ("a=x.jsonl?max_examples", "has no value; expected key=value"),
        ("a=x.jsonl?max_line=5,max_line=6", "option 'max_line' is given twice"),
        ("a=x.jsonl?columns=a", "should be columns=OLD:NEW"),
        ("a=x.jsonl?encoding=klingon", "is no text encoding"),
    ],
)
def test_malformed_specs(text, expected):
    with pytest.raises(SpecError) as caught:
        datasets.parse_dataset(text)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a=x.jsonl", ["a=x.jsonl"]),
        (" a=x.jsonl , chat,y.txt,", ["a=x.jsonl", "chat", "y.txt"]),
        (
            "a=x.jsonl?max_examples=5,skip_bad=true,b=y.txt?columns=q:prompt,columns=t:target,chat",
            ["a=x.jsonl?max_examples=5,skip_bad=true",
             "b=y.txt?columns=q:prompt,columns=t:target", "chat"],
        ),
        ("a=x.jsonl?max_line=5,max_exmples=6", ["a=x.jsonl?max_line=5,max_exmples=6"]),
        ("a=x.jsonl?max_line=5,b=chat", ["a=x.jsonl?max_line=5", "b=chat"]),
    ],
)  # fmt: skip
def test_split_datasets(text, expected):
    assert datasets.split_datasets(text) == expected


# --- The packaged sets ---


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_load(name):
    dataset = datasets.DatasetSpec(name, datasets.samples()[name], datasets.DatasetOptions()).load()
    check_fits_its_spec(dataset)
    # The client generates for every example as the page opens, on two cores.
    assert 4 <= len(dataset) <= 6
    assert isinstance(dataset.spec()["source"], lit_types.CategoryLabel)
    assert ("target" in dataset.spec()) == (name != "chat")


def test_menu_advice_is_the_classic_session():
    rows = datasets.load(datasets.samples()["menu_advice"]).examples
    versions = {name: [r for r in rows if r["version"] == name] for name in
                ("contradiction", "fixed", "principles")}  # fmt: skip
    assert all(len(found) == 2 for found in versions.values())
    for planted, fixed in zip(versions["contradiction"], versions["fixed"], strict=True):
        changed = [
            (a, b)
            for a, b in zip(planted["prompt"].split("\n"), fixed["prompt"].split("\n"), strict=True)
            if a != b
        ]
        assert changed == [("Recommendation: You have to try it.", "Recommendation: Avoid it.")]
    for principles, fixed in zip(versions["principles"], versions["fixed"], strict=True):
        removed = [x for x in fixed["prompt"].split("\n") if x not in principles["prompt"]]
        assert removed == []
        assert "principle" in principles["prompt"].split("Likes:")[0]
    assert all(row["prompt"].endswith("Recommendation:") for row in rows)


def test_import_brings_no_framework():
    code = (
        "import sys, lit_plugins.datasets, lit_plugins.layouts, lit_plugins.resources\n"
        "print({'torch', 'tensorflow', 'keras', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


# --- stream


def test_stream_gives_every_record_in_its_turn(tmp_path):
    path = tmp_path / "some.jsonl"
    lines = [b'{"text": "one"}', b"", b"{", b'{"text": "\xe9"}', b'{"text": "two"}', b"x" * 99]
    path.write_bytes(b"\n".join(lines))
    options = datasets.DatasetOptions(max_line=50, max_examples=1)
    found = list(datasets.stream(path, options))
    assert [(one.line, one.fields) for one in found] == [
        (1, {"text": "one"}),
        (3, {}),
        (4, {}),
        (5, {"text": "two"}),
        (6, {}),
    ]
    problems = [one.problem for one in found]
    assert problems[0] is problems[3] is None
    assert "no JSON" in problems[1]
    assert "not utf-8" in problems[2]
    assert "longer than 50" in problems[4]


def test_a_byte_order_mark_is_fine_whoever_reads(tmp_path):
    path = write(tmp_path, b'\xef\xbb\xbf{"prompt": "x"}\n')
    spec = datasets.parse_dataset(f"a={path}")
    assert spec.load().examples == [{"prompt": "x"}]
    assert [one.fields for one in datasets.stream(path, spec.options)] == [{"prompt": "x"}]


def test_stream_is_lazy_and_reads_open_files():
    class Endless(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            text = b'{"prompt": "x"}\n'
            buffer[: len(text)] = text
            return len(text)

    options = datasets.DatasetOptions(max_bytes=2**16)
    found = datasets.stream(Path("standard input"), options, io.BufferedReader(Endless()))
    assert next(found) == datasets.Record(1, {"prompt": "x"})
    assert next(found).line == 2
    with pytest.raises(DataError, match=r"^standard input: holds more than 65536 bytes"):
        list(found)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("gone.jsonl", None, "does not exist"),
        ("a.xlsx", b"", "unknown kind of file"),
        ("a.jsonl.gz", b"no", "is not a gzip file"),
        ("a.csv", b"a,b\n1,2\n", "the header shows no task"),
    ],
)
def test_stream_of_what_cannot_be_read(tmp_path, name, content, problem):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        list(datasets.stream(path, datasets.DatasetOptions()))
    assert name in str(caught.value)
