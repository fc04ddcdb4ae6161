"""Records of each task: what they must hold, how LIT shows them, and what is said of bad ones."""

import json
from pathlib import Path

import pytest
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import types as lit_types
from lit_nlp.lib import serialize

from lit_plugins import datasets, records, resources
from lit_plugins.errors import DataError, SpecError

TEXT = lit_types.TextSegment()
TOKENS = lit_types.Tokens(parent="text")
TAGS = lit_types.SequenceTags(align="tokens")


def write(tmp_path: Path, content: str, name: str = "p.jsonl") -> Path:
    path = tmp_path / name
    path.write_text(content, "utf-8")
    return path


def jsonl(*rows) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def load(tmp_path: Path, *rows, **options) -> datasets.RecordDataset:
    return datasets.load(write(tmp_path, jsonl(*rows)), **options)


def problem(tmp_path: Path, row, *, good=(), **options) -> str:
    """What is said of a bad record, after good ones."""
    path = write(tmp_path, jsonl(*good, row))
    with pytest.raises(DataError) as caught:
        datasets.load(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    start = f"p.jsonl:{len(good) + 1}: "
    assert f"Of {len(good) + 1} records 1 bad, {len(good)} good. Bad: {start}" in message
    return message.split(start)[1]


def check_fits_its_spec(dataset: datasets.RecordDataset) -> None:
    """Every example holds every field, in a type that LIT takes; its client gets valid JSON."""
    for example in dataset.examples:
        assert list(example) == list(dataset.spec())
        for name, value in example.items():
            dataset.spec()[name].validate_input(value, dataset.spec(), example)
    serialize.to_json(dataset.examples, simple=True, allow_nan=False)
    spec = json.loads(serialize.to_json(dataset.spec(), simple=True, allow_nan=False))
    assert not any(value["__name__"].startswith("_") for value in spec.values())


# --- Each task: two records, the second with nothing but what it must have ---

CASES = {
    "text-generation": (
        [{"prompt": "p", "target": "t", "source": "s"}, {"prompt": ""}],
        [{"prompt": "p", "target": "t", "source": "s"}, {"prompt": "", "target": "", "source": ""}],
        {"prompt": TEXT, "target": TEXT, "source": lit_types.CategoryLabel()},
        "prompt,target,source\np,t,s\n,,\n",
    ),
    "question-answering": (
        [
            {"question": "Who?", "context": "Ann and Bob.", "answers": ["Ann", "Bob"]},
            {"question": "", "context": ""},
        ],
        [
            {"question": "Who?", "context": "Ann and Bob.", "answers": ["Ann", "Bob"]},
            {"question": "", "context": "", "answers": []},
        ],
        {
            "question": TEXT,
            "context": TEXT,
            "answers": lit_types.SparseMultilabel(separator="|"),
        },
        "question,context,answers\nWho?,Ann and Bob.,Ann | Bob\n,,\n",
    ),
    "pair-classification": (
        [{"text_a": "a", "text_b": "b", "label": "yes"}, {"text_a": "", "text_b": ""}],
        [
            {"text_a": "a", "text_b": "b", "label": "yes"},
            {"text_a": "", "text_b": "", "label": ""},
        ],
        {
            "text_a": TEXT,
            "text_b": TEXT,
            "label": lit_types.CategoryLabel(vocab=["", "yes"]),
        },
        "text_a,text_b,label\na,b,yes\n,,\n",
    ),
    "token-classification": (
        [
            {"text": "Ann, no", "tokens": ["Ann", ",", "no"], "tags": ["B-PER", "O", "O"]},
            {"tokens": ["Hi"]},
        ],
        [
            {"text": "Ann, no", "tokens": ["Ann", ",", "no"], "tags": ["B-PER", "O", "O"]},
            {"text": "Hi", "tokens": ["Hi"], "tags": []},
        ],
        {"text": TEXT, "tokens": TOKENS, "tags": TAGS},
        'text,tokens,tags\n"Ann, no","Ann|,|no",B-PER|O|O\n,Hi,\n',
    ),
    "zero-shot": (
        [
            {
                "text": "t",
                "label": "b",
                "labels": ["b"],
                "candidate_labels": ["b", "a"],
                "hypothesis_template": "Is {}.",
            },
            {"text": ""},
        ],
        [
            {
                "text": "t",
                "label": "b",
                "labels": ["b"],
                "candidate_labels": ["b", "a"],
                "hypothesis_template": "Is {}.",
            },
            {
                "text": "",
                "label": "",
                "labels": [],
                "candidate_labels": [],
                "hypothesis_template": "",
            },
        ],
        {
            "text": TEXT,
            "label": lit_types.CategoryLabel(vocab=["", "b"]),
            "labels": lit_types.SparseMultilabel(vocab=["b"], separator="|"),
            "candidate_labels": lit_types.SparseMultilabel(vocab=["a", "b"], separator="|"),
            "hypothesis_template": TEXT,
        },
        "text,label,labels,candidate_labels,hypothesis_template\nt,b,b,b|a,Is {}.\n,,,,\n",
    ),
    "text-classification": (
        [{"text": "t", "label": "pos", "labels": ["x", "y"]}, {"text": ""}],
        [
            {"text": "t", "label": "pos", "labels": ["x", "y"]},
            {"text": "", "label": "", "labels": []},
        ],
        {
            "text": TEXT,
            "label": lit_types.CategoryLabel(vocab=["", "pos"]),
            "labels": lit_types.SparseMultilabel(vocab=["x", "y"], separator="|"),
        },
        "text,label,labels\nt,pos,x|y\n,,\n",
    ),
}


def test_every_task_has_a_case():
    assert set(CASES) == set(records.TASKS)


# Nothing but `text` shows no more than text-classification.
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("name", CASES)
def test_columns_show_the_task(tmp_path, name, order):
    rows, expected, spec, _ = CASES[name]
    dataset = load(tmp_path, *rows[::order])
    assert dataset.task == name
    assert dataset.spec() == spec
    assert dataset.examples == expected[::order]
    assert dataset.places == ("p.jsonl:1", "p.jsonl:2")
    check_fits_its_spec(dataset)


@pytest.mark.parametrize("name", CASES)
def test_records_in_memory_read_the_same(name):
    rows, expected, spec, _ = CASES[name]
    dataset = datasets.from_records(rows, "mine")
    assert (dataset.task, dataset.spec(), dataset.examples) == (name, spec, expected)
    assert dataset.places == ("record 0", "record 1")


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@pytest.mark.parametrize("name", CASES)
def test_tables_read_the_same(tmp_path, name, kind):
    _, expected, spec, text = CASES[name]
    if kind == "tsv":
        text = text.replace('"Ann, no","Ann|,|no"', "Ann; no\tAnn|;|no").replace(",", "\t")
        text = text.replace(";", ",")
    dataset = datasets.load(write(tmp_path, text, f"p.{kind}"))
    assert (dataset.task, dataset.spec(), dataset.examples) == (name, spec, expected)
    check_fits_its_spec(dataset)


@pytest.mark.parametrize("name", CASES)
def test_only_what_a_task_needs_is_needed(tmp_path, name):
    row = CASES[name][0][1]
    task = records.TASKS[name]
    dataset = load(tmp_path, row, task=name)
    assert dataset.task == name
    assert set(dataset.spec()) - set(row) <= {"text"}
    assert f"Task: {name}. Fields: " in dataset.description()
    assert dataset.description().startswith(f"1 {task.noun} from p.jsonl.")


@pytest.mark.parametrize("name", CASES)
def test_each_needed_field_is_named_if_missing(tmp_path, name):
    row, task = CASES[name][0][0], records.TASKS[name]
    for missing in task.needs[0]:
        others = {key: value for key, value in row.items() if key not in task.needs[0]}
        others |= {key: row[key] for key in task.needs[0] if key != missing}
        others.pop("tokens", None)
        message = problem(tmp_path, {"x": 1} | others, task=name)
        assert message.startswith(f"{missing}: is missing; the record has x")
        assert f"rename one (columns=OLD:{missing})" in message
    message = problem(tmp_path, {}, task=name)
    assert message.startswith(f"{task.needs[0][0]}: is missing; the record is empty")


@pytest.mark.parametrize("name", CASES)
def test_fields_of_text_are_text(tmp_path, name):
    row, task = CASES[name][0][0], records.TASKS[name]
    fields = [field for field in row if isinstance(row[field], str)]
    for field in fields:
        message = problem(tmp_path, row | {field: {"k": 1}}, task=name)
        assert message.startswith(f"{field}: is {{'k': 1}}, expected text in quotes")
        for bad, word in (("a\0", "NUL"), ("a\ud800", "surrogate")):
            bad += "{}" if field == "hypothesis_template" else ""
            drop = {"tokens", "tags", "answers"} if field in ("text", "context") else set()
            bare = {key: value for key, value in row.items() if key not in drop}
            assert f"{field}: holds " in (said := problem(tmp_path, bare | {field: bad}, task=name))
            assert word in said
    if len(task.needs) == 1:
        for field in task.needs[0]:
            said = problem(tmp_path, row | {field: None}, task=name)
            assert f"{field}: is None, expected text in quotes" in said


@pytest.mark.parametrize("name", CASES)
def test_null_is_a_field_left_out(tmp_path, name):
    rows, expected, _, _ = CASES[name]
    task = records.TASKS[name]
    nulls = dict.fromkeys(set(task.fields) - set(rows[1]), None)
    assert load(tmp_path, rows[0], rows[1] | nulls, task=name).examples == expected


@pytest.mark.parametrize("name", CASES)
def test_further_columns_and_source_are_kept(tmp_path, name):
    row = CASES[name][0][0] | {"source": "s", "n": 3}
    dataset = load(tmp_path, row)
    assert dataset.examples[0]["n"] == 3
    assert dataset.spec()["source"] == lit_types.CategoryLabel()
    assert list(dataset.spec())[-2:] == ["source", "n"]


@pytest.mark.parametrize("name", CASES)
def test_names_of_outputs_are_refused_unless_they_are_the_tasks_own(tmp_path, name):
    row = CASES[name][0][0]
    for reserved in datasets.RESERVED - set(records.TASKS[name].fields):
        message = problem(tmp_path, row | {reserved: 1}, task=name)
        assert f"'{reserved}': LIT uses this name itself; rename it (columns=OLD:NEW)" in message


def test_outputs_of_the_models_are_reserved():
    outputs = """probas score scores labels_predicted predicted_tags spans answer answer_score
    tokens tokens_a tokens_b attention cls_embedding response"""
    assert set(outputs.split()) <= datasets.RESERVED


# --- Which task a file is of ---


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["prompt", "text", "tokens", "question", "context"], "text-generation"),
        (["question", "context", "text"], "question-answering"),
        (["question", "text"], "text-classification"),
        (["text_a", "text_b", "text"], "pair-classification"),
        (["text", "tokens"], "token-classification"),
        (["text", "candidate_labels"], "zero-shot"),
        (["text", "hypothesis_template"], "text-classification"),
        (["text", "label"], "text-classification"),
        (["text_a", "label"], None),
        ([], None),
    ],
)
def test_order_in_which_tasks_are_looked_for(columns, expected):
    task = records.find(columns)
    assert (task and task.name) == expected


def test_a_later_record_can_say_more_but_nothing_else(tmp_path):
    text, more = {"text": "a b"}, {"text": "a b", "candidate_labels": ["x"]}
    words = {"text": "a b", "tokens": ["a", "b"]}
    assert load(tmp_path, text, more, text).task == "zero-shot"
    dataset = load(tmp_path, text, words)
    assert dataset.task == "token-classification"
    assert dataset.examples == [{"text": "a b", "tokens": []}, words]
    assert "'tokens': LIT uses this name" in problem(tmp_path, words, good=[text, more])
    message = problem(tmp_path, {"prompt": "p"}, good=[text])
    assert message.startswith("text: is missing; the record has prompt: rename one")
    message = problem(tmp_path, text, good=[{"prompt": "p"}])
    assert message.startswith("prompt: is missing; the record has text: rename one")


def test_a_bad_record_does_not_decide(tmp_path):
    path = write(tmp_path, jsonl({"prompt": 3}, {"text": "a"}))
    dataset = datasets.load(path, skip_bad=True)
    assert dataset.task == "text-classification"
    assert dataset.places == ("p.jsonl:2",)


def test_renamed_columns_show_the_task(tmp_path):
    rows = [{"premise": "a", "hypothesis": "b", "gold": 1}]
    columns = {"premise": "text_a", "hypothesis": "text_b", "gold": "label"}
    dataset = load(tmp_path, *rows, columns=columns)
    assert dataset.task == "pair-classification"
    assert dataset.examples == [{"text_a": "a", "text_b": "b", "label": "1"}]


def test_columns_that_show_no_task(tmp_path):
    message = problem(tmp_path, {"body": "x", "n": 1})
    assert message.startswith(
        "shows no task: the record has body, n; rename what it holds (columns=OLD:NEW) to prompt, "
        "question and context, text_a and text_b, tokens, text and candidate_labels, or text"
    )
    assert problem(tmp_path, {}).startswith("shows no task: the record is empty; rename")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"text_a": "x", "label": "y"},
            "text_b: is missing; the record has text_a, label, where pair-classification needs "
            "text_a and text_b: rename one (columns=OLD:text_b)",
        ),
        ({"text_b": "x"}, "text_a: is missing; the record has text_b, where pair-"),
        ({"question": "x"}, "context: is missing; the record has question, where question-answ"),
        ({"context": "x"}, "question: is missing; the record has context, where question-answer"),
        ({"candidate_labels": ["x"]}, "text: is missing; the record has candidate_labels: ren"),
    ],
)
def test_half_of_what_a_task_needs(tmp_path, row, expected):
    assert problem(tmp_path, row).startswith(expected)
    header = ",".join(row)
    path = write(tmp_path, f"{header}\n{header}\n", "p.csv")
    with pytest.raises(DataError) as caught:
        datasets.load(path)
    missing = expected.split(":")[0]
    assert f"line 1: no column '{missing}' in the header; it has {', '.join(row)}. Rename one " in (
        str(caught.value)
    )


def test_task_of_a_table_is_checked_at_the_header(tmp_path):
    path = write(tmp_path, "text,label\na,b\n", "p.csv")
    with pytest.raises(DataError, match=r"no column 'text_a' in the header; it has text, label\."):
        datasets.load(path, task="pair-classification")
    assert datasets.load(path, task="zero-shot").task == "zero-shot"


@pytest.mark.parametrize("name", CASES)
def test_lines_of_text(tmp_path, name):
    path = write(tmp_path, " one \n\ntwo\n", "p.txt")
    line = records.TASKS[name].line
    if line is None:
        with pytest.raises(DataError) as caught:
            datasets.load(path, task=name)
        needs = " and ".join(records.TASKS[name].needs[0])
        assert f"holds one text a line, and {name} needs {needs}; use .jsonl" in str(caught.value)
        return
    dataset = datasets.load(path, task=name)
    assert dataset.task == name
    assert dataset.examples == [{line: " one "}, {line: "two"}]
    assert dataset.places == ("p.txt:1", "p.txt:3")


def test_lines_are_prompts_unless_a_task_is_given(tmp_path):
    assert datasets.load(write(tmp_path, "one\n", "p.txt")).task == "text-generation"
    with pytest.raises(DataError, match="holds no pairs"):
        datasets.load(write(tmp_path, "text_a,text_b\n", "p.csv"), task="pair-classification")


# --- Labels ---


@pytest.mark.parametrize(
    ("values", "expected", "kind"),
    [
        ([0, 1], ["0", "1"], lit_types.CategoryLabel(vocab=["0", "1"])),
        ([0, "b"], ["0", "b"], lit_types.CategoryLabel(vocab=["0", "b"])),
        (["b", "a", "b"], ["b", "a", "b"], lit_types.CategoryLabel(vocab=["a", "b"])),
        (["0.5", "1"], ["0.5", "1"], lit_types.CategoryLabel(vocab=["0.5", "1"])),
        (["a", " "], ["a", ""], lit_types.CategoryLabel(vocab=["", "a"])),
        ([0, None], ["0", ""], lit_types.CategoryLabel(vocab=["", "0"])),
        (
            [0.5, 2],
            [0.5, 2],
            lit_types.Scalar(min_val=0.5, max_val=2, default=0.5, step=0.01),
        ),
        (
            [0.0, 0.0],
            [0.0, 0.0],
            lit_types.Scalar(min_val=0.0, max_val=0.0, default=0.0, step=0.01),
        ),
    ],
)
@pytest.mark.parametrize("task", ["text-classification", "pair-classification", "zero-shot"])
def test_labels_are_names_unless_they_have_decimals(tmp_path, task, values, expected, kind):
    base = dict.fromkeys(records.TASKS[task].needs[0], "t")
    dataset = load(tmp_path, *({**base, "label": value} for value in values), task=task)
    assert [example["label"] for example in dataset.examples] == expected
    assert dataset.spec()["label"] == kind
    check_fits_its_spec(dataset)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("0 1", ["0", "1"]),
        ("1.5 2", [1.5, 2]),
        ("1.5 x", ["1.5", "x"]),
        ("true false", ["true", "false"]),
        ("007 1", ["007", "1"]),
    ],
)
def test_labels_of_a_table(tmp_path, cells, expected):
    text = "text,label\n" + "".join(f"t,{cell}\n" for cell in cells.split())
    dataset = datasets.load(write(tmp_path, text, "p.csv"))
    assert [example["label"] for example in dataset.examples] == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            [0.5, "good"],
            "label: is 'good' in one record and the number 0.5 in another; write all as text in "
            "quotes, or all as numbers.",
        ),
        (
            [0.5, None, ""],
            "label: is a number with decimals, and missing in 2 of 3 records; LIT cannot show "
            "that. Give each record one, or drop the column.",
        ),
    ],
)
def test_numbers_with_decimals_go_with_numbers_alone(tmp_path, values, expected):
    rows = [{"text": "t", "label": value} for value in values]
    with pytest.raises(DataError) as caught:
        load(tmp_path, *rows)
    assert str(caught.value) == f"{tmp_path / 'p.jsonl'}: {expected}"
    with pytest.raises(DataError, match=r"^mine: label: is "):
        datasets.from_records(rows, "mine")


@pytest.mark.parametrize("value", [True, ["a"], {"a": 1}])
def test_what_is_no_label(tmp_path, value):
    message = problem(tmp_path, {"text": "t", "label": value})
    assert message.startswith("label: is ")
    assert "expected text in quotes, or a number" in message


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("labels", "a|b", "is 'a|b', expected a list of text such as [\"a\", \"b\"]; if a record "
         "has one label, call it label (columns=OLD:label)"),
        ("labels", 0, "is 0, expected a list of text"),
        ("labels", {"a": 1}, "is {'a': 1}, expected a list of text"),
        ("labels", ["a", "a"], "'a' stands there twice; keep one"),
        ("labels", ["a", 0.5], "item 2 is 0.5, expected text in quotes"),
        ("labels", ["a", True], "item 2 is True, expected text in quotes"),
        ("labels", ["a", None], "item 2 is None, expected text in quotes"),
        ("labels", ["", "a"], "item 1 is '', which is blank; take it out"),
        ("labels", ["a\0"], "holds a NUL character; remove it"),
        ("candidate_labels", "a", "is 'a', expected a list of text"),
        ("candidate_labels", [], "is empty; name at least one label, or leave the field out"),
        ("candidate_labels", ["a", "b", "a"], "'a' stands there twice; keep one"),
        ("candidate_labels", ["a", " "], "item 2 is ' ', which is blank; take it out"),
        ("hypothesis_template", "It is about that.", "'It is about that.' has no {}, which stands "
         "for the label; write for example 'This text is about {}.'"),
    ],
)  # fmt: skip
def test_bad_lists_of_labels(tmp_path, field, value, expected):
    row = {"text": "t", "candidate_labels": ["x"], field: value}
    assert problem(tmp_path, row).startswith(f"{field}: {expected}")


def test_whole_numbers_in_lists_are_names(tmp_path):
    assert load(tmp_path, {"text": "t", "labels": [0, 2]}).examples[0]["labels"] == ["0", "2"]
    row = {"tokens": ["a", "b"], "tags": [0, 3]}
    assert load(tmp_path, row).examples[0]["tags"] == ["0", "3"]


@pytest.mark.parametrize(
    ("separator", "written"), [(";", "a;b"), ("space", "a b"), ("comma", '"a,b"'), ("tab", "a\tb")]
)
def test_separator_of_lists_in_a_table(tmp_path, separator, written):
    path = write(tmp_path, f"text,labels,tokens,tags\na b,{written},{written},{written}\n", "p.csv")
    dataset = datasets.load(path, separator=separator, task="token-classification")
    assert dataset.examples[0]["tokens"] == dataset.examples[0]["tags"] == ["a", "b"]
    path = write(tmp_path, f"text,labels\nt,{written}\n", "p.csv")
    dataset = datasets.load(path, separator=separator)
    assert dataset.examples == [{"text": "t", "labels": ["a", "b"]}]


def test_blank_item_in_a_table(tmp_path):
    path = write(tmp_path, "text,labels\nt,a||b\n", "p.csv")
    with pytest.raises(DataError, match=r"p\.csv:2: labels: item 2 is '', which is blank"):
        datasets.load(path)


# --- Tokens ---


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "tags: are 1 for 2 tokens; give each token one"),
        ({"tokens": ["a"], "tags": []}, "tags: are 0 for 1 tokens; give each token one"),
        ({"text": "a", "tags": ["O"]},
         "tags: are 1, but there are no tokens; give each tag its token"),
        ({"text": "a", "tokens": [], "tags": ["O"]}, "tags: are 1 for 0 tokens"),
        ({"tokens": ["a", ""]}, "tokens: item 2 is '', which is blank; take it out"),
        ({"tokens": [" \t", "a"]}, "tokens: item 1 is ' \\t', which is blank; take it out"),
        ({"tokens": "a b"}, "tokens: is 'a b', expected a list of text"),
        ({"tokens": ["a", 1]}, "tokens: item 2 is 1, expected text in quotes"),
        ({"tokens": ["a"], "tags": "O"}, "tags: is 'O', expected a list of text"),
        ({"tokens": ["a"], "tags": [" "]}, "tags: item 1 is ' ', which is blank"),
        ({"text": "a b", "tokens": ["b", "a"]},
         "tokens: number 2, 'a', does not stand in the text after 'b'; write the tokens as the "
         "text does, in its order, or leave the text out"),
        ({"text": "a b", "tokens": ["c", "a"]},
         "tokens: number 1, 'c', does not stand in the text; write"),
        ({"text": "a", "tokens": ["a", "a"]}, "tokens: number 2, 'a', does not stand in the text"),
        ({"text": None, "tokens": None}, "text: is missing; token-classification needs text or "
         "tokens: add one"),
        ({"x": 1}, "text: is missing; the record has x, where token-classification needs text or "
         "tokens: rename one (columns=OLD:text)"),
    ],
)  # fmt: skip
def test_bad_tokens(tmp_path, row, expected):
    assert problem(tmp_path, row, task="token-classification").startswith(expected)


def test_text_of_tokens_and_tokens_left_to_the_model(tmp_path):
    dataset = load(tmp_path, {"tokens": ["a", ",", "b"]})
    assert dataset.examples == [{"text": "a , b", "tokens": ["a", ",", "b"]}]
    dataset = load(tmp_path, {"text": "a, b"}, {"text": ""}, task="token-classification")
    assert dataset.examples == [{"text": "a, b"}, {"text": ""}]
    dataset = load(tmp_path, {"text": "", "tokens": ["a"]}, {"text": "b", "tokens": []})
    assert dataset.examples == [{"text": "a", "tokens": ["a"]}, {"text": "b", "tokens": []}]


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("Ann met Ann.", ["Ann", "met", "Ann", "."], [(0, 3), (4, 7), (8, 11), (11, 12)]),
        ("  aab", ["a", "ab"], [(2, 3), (3, 5)]),
        ("日本 語", ["日本", "語"], [(0, 2), (3, 4)]),
        ("a b", ["a", "x", "b"], [(0, 1)]),
        ("", ["a"], []),
        ("a", [], []),
    ],
)
def test_token_offsets(text, tokens, expected):
    offsets = records.token_offsets(text, tokens)
    assert offsets == expected
    assert [text[start:stop] for start, stop in offsets] == tokens[: len(offsets)]


# --- Answers ---

CONTEXT = "Berlin lies on the Spree. Berlin is large."


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["Berlin", "the Spree"], ["Berlin", "the Spree"]),
        ([], []),
        ({"text": ["Berlin", "Berlin"], "answer_start": [0, 26]}, ["Berlin"]),
        ({"text": [], "answer_start": []}, []),
    ],
)
def test_answers(tmp_path, answers, expected):
    base = {"question": "q", "context": CONTEXT}
    dataset = load(tmp_path, base | {"answers": answers}, base | {"answers": ["Spree"]})
    assert dataset.examples[0]["answers"] == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("Berlin", "is 'Berlin', expected a list of text"),
        (["Paris"], "'Paris' does not stand in the context; write it as the context does"),
        ([""], "item 1 is '', which is blank; take it out"),
        ([3], "item 1 is 3, expected text in quotes"),
        ({"text": ["Spree"], "answer_start": [18]},
         "at answer_start 18 of the context stands ' Spre', not 'Spree'; expected 19"),
        ({"text": ["Spree"], "answer_start": [-5]},
         "at answer_start -5 of the context stands nothing, not 'Spree'; expected 19"),
        ({"text": ["Spree"], "answer_start": [999]},
         "at answer_start 999 of the context stands '', not 'Spree'; expected 19"),
        ({"text": ["Paris"], "answer_start": [0]},
         "at answer_start 0 of the context stands 'Berli', not 'Paris'; the answer is nowhere in "
         "the context"),
        ({"text": ["Berlin"], "answer_start": []}, "answer_start: 0 for 1 texts; give each text"),
        ({"text": ["Berlin"], "answer_start": 0}, "answer_start is 0, expected a list of counts"),
        ({"text": ["Berlin"], "answer_start": ["0"]},
         "answer_start is '0', expected a count of characters"),
        ({"text": ["Berlin"], "answer_start": [True]},
         "answer_start is True, expected a count of characters"),
        ({"text": "Berlin", "answer_start": 0}, "is 'Berlin', expected a list of text"),
        ({"text": ["Berlin"]},
         "is an object of text, expected text and answer_start, or a list of text"),
    ],
)  # fmt: skip
def test_bad_answers(tmp_path, answers, expected):
    row = {"question": "q", "context": CONTEXT, "answers": answers}
    assert problem(tmp_path, row).startswith(f"answers: {expected}")


# --- Other names of labels, and labels that a model does not have ---


def test_labels_are_renamed_wherever_they_stand(tmp_path):
    renames = {"0": "no", "1.5": "much", "b": "B", "c": "B"}
    rows = [
        {"text": "t", "label": value, "labels": ["a", "b", "c"], "candidate_labels": ["b", "d"]}
        for value in (0, 1.5, "c")
    ]
    dataset = load(tmp_path, *rows, labels=renames)
    assert [example["label"] for example in dataset.examples] == ["no", "much", "B"]
    assert dataset.examples[0]["labels"] == ["a", "B"]
    assert dataset.examples[0]["candidate_labels"] == ["B", "d"]
    row = {"tokens": ["x", "y"], "tags": [0, "c"]}
    assert load(tmp_path, row, labels={"0": "O", "c": "B-C"}).examples[0]["tags"] == ["O", "B-C"]
    dataset = datasets.from_records(rows[:1], "mine", labels={"0": "no"})
    assert dataset.examples[0]["label"] == "no"


def test_labels_are_renamed_in_a_table(tmp_path):
    path = write(tmp_path, "text,label,labels\nt,1.0,a|b\nu,0.0,a\n", "p.csv")
    dataset = datasets.load(path, labels={"1.0": "yes", "0.0": "no", "a": "A"})
    assert [example["label"] for example in dataset.examples] == ["yes", "no"]
    assert dataset.examples[0]["labels"] == ["A", "b"]


def test_a_rename_of_nothing_is_an_error(tmp_path):
    rows = [{"text": "t", "label": "neg"}, {"text": "t", "label": "pos"}]
    with pytest.raises(DataError) as caught:
        load(tmp_path, *rows, labels={"neg": "bad", "zero": "0"})
    assert "no record has a label 'zero' to rename; labels: bad, pos." in str(caught.value)
    # Behind what was read, it may be there.
    dataset = load(tmp_path, *rows, labels={"pos": "good"}, max_examples=1)
    assert dataset.truncated


def test_labels_as_options(tmp_path):
    path = write(tmp_path, "text,kind\nt,0\n", "p.csv")
    [text] = datasets.split_datasets(
        f"d={path}?columns=kind:label,labels=0:a:b,task=zero-shot,separator=;"
    )
    spec = datasets.parse_dataset(text)
    assert spec.options.labels == {"0:a": "b"}
    spec = datasets.parse_dataset(f"d={path}?columns=kind:label&labels=0:no&task=zero-shot")
    dataset = spec.load()
    assert dataset.task == "zero-shot"
    assert dataset.examples == [{"text": "t", "label": "no"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=x.jsonl?task=zeroshot", "is no task. Did you mean 'zero-shot'? Tasks: text-generation"),
        ("a=x.jsonl?task=", "is no task. Tasks: "),
        ("a=x.jsonl?labels=neg", "'labels=neg' should be labels=OLD:NEW"),
        ("a=x.jsonl?labels=:neg", "should be labels=OLD:NEW"),
        ("a=x.jsonl?separator=", "Option separator=''"),
        ("a=x.jsonl?task=zero-shot,task=zero-shot", "option 'task' is given twice"),
    ],
)
def test_malformed_options(text, expected):
    with pytest.raises(SpecError) as caught:
        datasets.parse_dataset(text)
    assert expected in str(caught.value)


def labelled(tmp_path) -> datasets.RecordDataset:
    rows = [{"text": "t", "label": label} for label in ("POS", "neg", "other", "neg", None)]
    return load(tmp_path, *rows, name="reviews")


def test_unknown_labels(tmp_path):
    dataset = labelled(tmp_path)
    assert datasets.unknown_labels(dataset, ["POS"]) == [("neg", 2), ("other", 1)]
    assert datasets.unknown_labels(dataset, {"POS": 0, "neg": 1, "other": 2}) == []
    indexed = lit_dataset.IndexedDataset(base=dataset, id_fn=lit_dataset.input_hash)
    assert datasets.unknown_labels(indexed.slice[:2], ["POS"]) == [("neg", 1)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"text": "t", "labels": ["a", "b"]}, {"text": "t", "labels": ["b"]}], [("b", 2)]),
        ([{"tokens": ["x", "y"], "tags": ["b", "b"]}], [("b", 1)]),  # one record
        ([{"text": "t", "label": 0.5}], []),
        ([{"prompt": "p", "target": "b"}], []),
        ([{"text": "t", "label": "a", "source": "b", "candidate_labels": ["b"]}], []),
    ],
)
def test_where_unknown_labels_are_looked_for(tmp_path, rows, expected):
    assert datasets.unknown_labels(load(tmp_path, *rows), ["a"]) == expected


def test_describe_unknown(tmp_path):
    dataset = labelled(tmp_path)
    assert datasets.describe_unknown(dataset, "sentiment", ["NEGATIVE", "POS"]) == (
        "Dataset 'reviews' has labels that model 'sentiment' does not have: 'neg' (2 records, "
        "first p.jsonl:2), 'other' (1 record, first p.jsonl:3). The model's labels: NEGATIVE, POS. "
        "Rename in the dataset: labels=neg:NEGATIVE."
    )
    assert datasets.describe_unknown(dataset, "m", ["POS", "neg", "other"]) is None
    many = datasets.from_records([{"text": "t", "labels": list("abcdefgh")}], "mine")
    message = datasets.describe_unknown(many, "m", ["x"])
    assert message is not None
    assert "'e' (1 record, first record 0), and 3 more. The model's labels: x." in message
    assert message.endswith("labels=a:NEW.")
    odd = datasets.from_records([{"text": "t", "label": "a\nb"}], "mine")
    assert "\n" not in str(datasets.describe_unknown(odd, "m", ["x"]))


@pytest.mark.parametrize(
    ("label", "labels", "expected"),
    [
        ("positive", ["NEGATIVE", "POSITIVE"], "POSITIVE"),
        ("entail", ["entailment", "neutral"], "entailment"),
        ("not RELEVANT", ["RELEVANT"], "NEW"),  # renamed so, right would become wrong
        ("B", ["B-PER", "B-LOC"], "NEW"),
        ("1", ["LABEL_0", "LABEL_1"], "NEW"),
    ],
)
def test_what_a_label_may_have_meant(label, labels, expected):
    dataset = datasets.from_records([{"text": "t", "label": label}], "mine")
    message = datasets.describe_unknown(dataset, "m", labels)
    assert message is not None
    assert message.endswith(f"labels={label}:{expected}.")


# --- What LIT's Configure dialog can say ---


def test_loader_takes_task_and_names(tmp_path):
    write(tmp_path, "body\tkind\nt\t0\nu\t1\n", "p.tsv")
    loader, spec = datasets.loaders([tmp_path])["records"]
    assert spec["task"].vocab[1:] == list(records.TASKS)
    assert spec["task"].default == spec["task"].vocab[0]
    dataset = loader(
        path="p.tsv",
        task="zero-shot",
        columns="body:text, kind:label",
        labels="0:no,1:yes,",
        max_examples=5,
    )
    assert dataset.task == "zero-shot"
    assert [example["label"] for example in dataset.examples] == ["no", "yes"]
    given = {name: field.default for name, field in spec.items()} | {"path": "support_tickets"}
    assert loader(**given).task == "text-classification"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"task": "poetry"}, "is no task"),
        ({"task": 5}, "Option task=5"),
        ({"columns": "a"}, "should be columns=OLD:NEW"),
        ({"labels": "a:"}, "should be labels=OLD:NEW"),
        ({"columns": 5}, "columns is 5; expected OLD:NEW, or several with commas"),
        ({"labels": {"a": "b"}}, "labels is {'a': 'b'}; expected OLD:NEW"),
    ],
)
def test_loader_checks_task_and_names(tmp_path, config, expected):
    write(tmp_path, "t\n", "p.txt")
    with pytest.raises((DataError, SpecError)) as caught:
        datasets.loaders([tmp_path])["records"][0](path="p.txt", **config)
    assert expected in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


# --- The packaged sets ---


def test_movie_reviews():
    dataset = datasets.load(datasets.samples()["movie_reviews"])
    check_fits_its_spec(dataset)
    assert dataset.task == "text-classification"
    assert len(dataset) >= 36
    labels = [example["label"] for example in dataset.examples]
    assert dataset.spec()["label"].vocab == ["NEGATIVE", "POSITIVE"]
    assert 0.4 < labels.count("POSITIVE") / len(labels) < 0.6
    assert {"text": "A dull, lifeless mess.", "label": "NEGATIVE", "source": "plain"} in (
        dataset.examples
    )
    for kind in ("negation", "two sides"):
        of_kind = {e["label"] for e in dataset.examples if e["source"] == kind}
        assert of_kind == {"NEGATIVE", "POSITIVE"}, kind


def test_passages():
    dataset = datasets.load(datasets.samples()["passages"])
    check_fits_its_spec(dataset)
    assert dataset.task == "pair-classification"
    assert len(dataset) >= 12
    assert dataset.spec()["label"].vocab == ["RELEVANT", "not RELEVANT"]
    about = {
        example["label"]
        for example in dataset.examples
        if example["text_a"] == "How many people live in Berlin?" and "Berlin" in example["text_b"]
    }
    assert about == {"RELEVANT", "not RELEVANT"}


# What the packaged model pii-ner knows.
KINDS = """GIVEN_NAME SURNAME EMAIL PHONE URL TAX_ID BANK_ACCOUNT ROUTING_NUMBER GOVERNMENT_ID
PASSPORT DRIVERS_LICENSE BUILDING_NUMBER STREET_NAME SECONDARY_ADDRESS CITY STATE ZIP_CODE"""


def test_personal_data():
    dataset = datasets.load(datasets.samples()["personal_data"])
    check_fits_its_spec(dataset)
    assert dataset.task == "token-classification"
    assert len(dataset) >= 12
    labels = ["O", *(f"{mark}-{kind}" for kind in KINDS.split() for mark in "BI")]
    assert datasets.unknown_labels(dataset, labels) == []
    for example in dataset.examples:
        before = "O"
        for tag in example["tags"]:
            assert not tag.startswith("I-") or before[2:] == tag[2:], example
            before = tag
        # Every character but spaces is in a token.
        assert "".join(example["tokens"]) == example["text"].replace(" ", "")
    first = dataset.examples[0]
    assert first["text"] == "We visited Paris last weekend, where Emmanuel Macron lives."
    tagged = dict(zip(first["tokens"], first["tags"], strict=True))
    assert (tagged["Paris"], tagged["Macron"]) == ("B-CITY", "B-SURNAME")


def test_support_tickets():
    dataset = datasets.load(datasets.samples()["support_tickets"])
    check_fits_its_spec(dataset)
    assert dataset.task == "text-classification"
    assert len(dataset) >= 12
    counts = {len(example["labels"]) for example in dataset.examples}
    assert counts >= {0, 1, 2}


# --- Documents ---


def documents() -> str:
    return (Path(__file__).parent.parent / "docs" / "data.md").read_text("utf-8")


def test_every_task_field_and_option_is_explained():
    text = documents()
    for name, task in records.TASKS.items():
        [row] = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        assert all(f"`{field}`" in row for field in task.fields if field != "source"), name
    named = set(text.replace("`", " ").split())
    assert set(datasets.DatasetOptions.model_fields) <= named


def test_examples_of_the_documents_show_their_tasks():
    text = documents()
    block = text.split("```jsonl\n")[1].split("```")[0]
    shown = [datasets.from_records([json.loads(line)], "doc").task for line in block.splitlines()]
    assert set(shown) == set(records.TASKS)


def test_samples_are_all_described():
    text = (resources.folder("datasets") / "README.md").read_text("utf-8")
    assert all(f"`{name}.jsonl`" in text for name in datasets.samples())
