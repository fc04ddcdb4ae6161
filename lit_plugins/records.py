"""What a record of each task must hold, and how LIT shows it: TASKS, one row a task.

A value goes three ways: `Field.read` checks it in its own record and brings it into one form,
`RecordTask.relate` checks a record's values against each other, and `Field.settle` finds LIT's type
from the values of all records. Columns that no task knows are kept, and typed by what they hold
(`column_type`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lit_nlp.api import types as lit_types

from lit_plugins.models.encoded import token_offsets

Example = dict[str, Any]

_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_MAX_CATEGORIES = 20
_MAX_CATEGORY_LENGTH = 50
_EXACT_IN_JAVASCRIPT = 2**53


class BadRecord(Exception):
    """A record, or a column, is bad; the text is `field: problem` or `problem`."""


@dataclass
class Reading:
    """How values are read.

    Attributes:
      separator: what stands between the items of a list in a cell of a table; None: values are
        JSON, where lists are lists.
      renames: new names of labels.
      renamed: which of them some record had.

    """

    separator: str | None = None
    renames: Mapping[str, str] = field(default_factory=dict)
    renamed: set[str] = field(default_factory=set)

    def label(self, text: str) -> str:
        """Return a label by its new name, if it has one."""
        if text in self.renames:
            self.renamed.add(text)
        return self.renames.get(text, text)


Settled = tuple[lit_types.LitType, list[Any]]


@dataclass(frozen=True)
class Field:
    """A field that a task knows.

    Attributes:
      read: the value as records hold it, or None if it stands for nothing; raises BadRecord, whose
        text `RecordTask.read` puts the field's name before.
      settle: LIT's type for the values of all records (None: missing), and the values in it.

    """

    read: Callable[[Any, Reading], Any]
    settle: Callable[[list[Any], Reading], Settled]


@dataclass(frozen=True)
class RecordTask:
    """What the records of a task hold.

    Attributes:
      name: as in the option `task`.
      noun: one record, in words.
      fields: what the task knows, in the order in which LIT shows it.
      needs: sets of fields of which a record must hold one whole set.
      shown_by: columns that show that a file is of this task, if no option says so.
      refines: a task whose records are fine for this one too: a file that shows that one at first
        is of this task if a later record says so.
      line: the field that a line of a `.txt` file is; None: one line is too little.
      relate: checks the fields against each other, and fills in what follows from them.

    """

    name: str
    noun: str
    fields: Mapping[str, Field]
    needs: tuple[tuple[str, ...], ...]
    shown_by: tuple[str, ...]
    refines: str | None = None
    line: str | None = None
    relate: Callable[[Example], None] = lambda example: None

    def lacks(self, columns: Collection[str]) -> str | None:
        """Return the field that is missing, of the set that is most nearly there; or None."""
        missing = [[name for name in need if name not in columns] for need in self.needs]
        nearest = min(missing, key=len)
        return nearest[0] if nearest else None

    def read(self, example: Mapping[str, Any], reading: Reading) -> Example:
        """Return the task's fields of a record, missing ones as None, or raise BadRecord."""
        if name := self.lacks(example):
            raise BadRecord(f"{name}: is missing; {self._remedy(name, example)}")
        always = set(self.needs[0]).intersection(*self.needs)
        found: Example = {}
        for name, kind in self.fields.items():
            value = example.get(name)
            if value is not None or name in always:
                try:
                    found[name] = kind.read(value, reading)
                except BadRecord as error:
                    raise BadRecord(f"{name}: {error}") from None
            elif name in example:
                found[name] = None
        self.relate(found)
        return found

    def _remedy(self, name: str, example: Mapping[str, Any]) -> str:
        if not example:
            return "the record is empty"
        wanted = " or ".join(" and ".join(need) for need in self.needs)
        more = f", where {self.name} needs {wanted}" if wanted != name else ""
        return f"the record has {names(example)}{more}: rename one (columns=OLD:{name})"


def find(columns: Collection[str], before: RecordTask | None = None) -> RecordTask | None:
    """Return the task that columns show, or None.

    What records before have shown (`before`) stays, unless a task that refines it is shown.
    """
    rows = [row for row in TASKS.values() if before is None or row.refines == before.name]
    return next((row for row in rows if all(name in columns for name in row.shown_by)), before)


def nearest(columns: Collection[str]) -> RecordTask | None:
    """Return the first task of which columns show a part, or None."""
    return next((row for row in TASKS.values() if any(x in columns for x in row.shown_by)), None)


def ways() -> str:
    """Return what shows a task, in words."""
    shown = [" and ".join(row.shown_by) for row in TASKS.values()]
    return f"{', '.join(shown[:-1])}, or {shown[-1]}"


# --- Reading a value ---


def _read_text(value: Any, reading: Reading) -> str:
    if not isinstance(value, str):
        raise BadRecord(f"is {show(value)}, expected text in quotes")
    return value


def _read_label(value: Any, reading: Reading) -> str | float | None:
    """Return text, whole numbers as text too; a number with decimals as it is."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadRecord(f"is {show(value)}, expected text in quotes, or a number")
    text = value if isinstance(value, str) else json.dumps(value)
    if not text.strip():
        return None
    if isinstance(value, float) and text not in reading.renames:
        return value
    return reading.label(text)


def _read_template(value: Any, reading: Reading) -> str | None:
    text = _read_text(value, reading)
    if text and "{}" not in text:
        raise BadRecord(
            f"{show(text)} has no {{}}, which stands for the label; write for example "
            "'This text is about {}.'"
        )
    return text or None


def _items(value: Any, reading: Reading, *, numbers: bool = False) -> list[str] | None:
    """Return a list of text without blank items; None for an empty cell of a table."""
    separator = reading.separator
    if separator is not None and isinstance(value, str):
        if not value.strip():
            return None
        value = [part.strip() for part in value.split(separator)]
    if not isinstance(value, list):
        raise BadRecord(f'is {show(value)}, expected a list of text such as ["a", "b"]')
    found: list[str] = []
    for number, item in enumerate(value, 1):
        if numbers and isinstance(item, int) and not isinstance(item, bool):
            item = str(item)
        if not isinstance(item, str):
            raise BadRecord(f"item {number} is {show(item)}, expected text in quotes")
        if not item.strip():
            raise BadRecord(f"item {number} is {show(item)}, which is blank; take it out")
        found.append(item)
    return found


def _reject_twice(items: Sequence[str]) -> None:
    if len(set(items)) < len(items):
        twice = next(item for item in items if items.count(item) > 1)
        raise BadRecord(f"{show(twice)} stands there twice; keep one")


def _read_labels(value: Any, reading: Reading) -> list[str] | None:
    if not isinstance(value, list) and reading.separator is None:
        raise BadRecord(
            f'is {show(value)}, expected a list of text such as ["a", "b"]; if a record has one '
            "label, call it label (columns=OLD:label)"
        )
    items = _items(value, reading, numbers=True)
    if items is None:
        return None
    _reject_twice(items)
    return list(dict.fromkeys(map(reading.label, items)))  # a rename may have made two the same


def _read_candidates(value: Any, reading: Reading) -> list[str] | None:
    found = _read_labels(value, reading)
    if found == []:
        raise BadRecord("is empty; name at least one label, or leave the field out")
    return found


def _read_tags(value: Any, reading: Reading) -> list[str] | None:
    items = _items(value, reading, numbers=True)
    return None if items is None else [reading.label(item) for item in items]


class _Answer(NamedTuple):
    text: str
    start: int | None


def _read_answers(value: Any, reading: Reading) -> list[_Answer] | None:
    """Read a list of text, or `{"text": [...], "answer_start": [...]}` as SQuAD writes it."""
    if not isinstance(value, dict):
        items = _items(value, reading)
        return None if items is None else [_Answer(item, None) for item in items]
    if set(value) != {"text", "answer_start"}:
        raise BadRecord(
            f"is an object of {names(value)}, expected text and answer_start, or a list of text"
        )
    items, starts = _items(value["text"], Reading()), value["answer_start"]
    assert items is not None
    if not isinstance(starts, list):
        raise BadRecord(f"answer_start is {show(starts)}, expected a list of counts of characters")
    if len(starts) != len(items):
        raise BadRecord(f"answer_start: {len(starts)} for {len(items)} texts; give each text one")
    for start in starts:
        if isinstance(start, bool) or not isinstance(start, int):
            raise BadRecord(f"answer_start is {show(start)}, expected a count of characters")
    return [_Answer(item, start) for item, start in zip(items, starts, strict=True)]


# --- Relations ---


def _relate_answers(example: Example) -> None:
    """Check that each answer stands in the context, and keep its text alone."""
    answers: list[_Answer] = example.get("answers") or []
    context: str = example["context"]
    for text, start in answers:
        if start is None:
            if text not in context:
                raise BadRecord(
                    f"answers: {show(text)} does not stand in the context; write it as the context "
                    "does"
                )
        elif start < 0 or context[start : start + len(text)] != text:
            there = show(context[start : start + len(text)]) if start >= 0 else "nothing"
            right = context.find(text)
            remedy = f"expected {right}" if right >= 0 else "the answer is nowhere in the context"
            raise BadRecord(
                f"answers: at answer_start {start} of the context stands {there}, not "
                f"{show(text)}; {remedy}"
            )
    if answers:
        example["answers"] = list(dict.fromkeys(answer.text for answer in answers))


def _relate_tokens(example: Example) -> None:
    """Check tags and text against the tokens; a text that is missing is the tokens joined."""
    text: str | None = example.get("text")
    tokens: list[str] | None = example.get("tokens")
    tags: list[str] | None = example.get("tags")
    if text is None and tokens is None:
        raise BadRecord("text: is missing; token-classification needs text or tokens: add one")
    if tags and tokens is None:
        raise BadRecord(f"tags: are {len(tags)}, but there are no tokens; give each tag its token")
    if tags is not None and len(tags) != len(tokens or []):
        raise BadRecord(
            f"tags: are {len(tags)} for {len(tokens or [])} tokens; give each token one"
        )
    if not text:
        example["text"] = " ".join(tokens or [])
    elif tokens and len(found := token_offsets(text, tokens)) < len(tokens):
        after = f" after {show(tokens[len(found) - 1])}" if found else ""
        raise BadRecord(
            f"tokens: number {len(found) + 1}, {show(tokens[len(found)])}, does not stand in the "
            f"text{after}; write the tokens as the text does, in its order, or leave the text out"
        )


# --- Types ---


def _text_type(values: list[Any], reading: Reading) -> Settled:
    return lit_types.TextSegment(), as_text(values)


def _category_type(values: list[Any], reading: Reading) -> Settled:
    return lit_types.CategoryLabel(), as_text(values)


def _label_type(values: list[Any], reading: Reading) -> Settled:
    """Return a category, with the labels seen; a number if the labels have decimals."""
    present = [value for value in values if value is not None]
    if reading.separator is not None:  # a table, whose cells are all text
        present = _parse_numbers(present) or present
    decimals = [value for value in present if isinstance(value, float)]
    if not decimals:
        texts = as_text(values)
        return lit_types.CategoryLabel(vocab=sorted(set(texts))), texts
    texts = [value for value in present if isinstance(value, str)]
    if words := [text for text in texts if not _JSON_NUMBER.fullmatch(text)]:
        raise BadRecord(
            f"label: is {show(words[0])} in one record and the number {decimals[0]} in another; "
            "write all as text in quotes, or all as numbers"
        )
    if len(present) < len(values):
        raise BadRecord(
            f"label: is a number with decimals, and missing in {len(values) - len(present)} of "
            f"{len(values)} records; LIT cannot show that. Give each record one, or drop the column"
        )
    # Whole numbers among them were taken for names of labels.
    return column_type([json.loads(x) if isinstance(x, str) else x for x in present])


def _list_type(values: list[Any], reading: Reading) -> Settled:
    lists = [value or [] for value in values]
    seen = sorted({item for items in lists for item in items})
    return lit_types.SparseMultilabel(vocab=seen, separator=reading.separator or "|"), lists


def _answers_type(values: list[Any], reading: Reading) -> Settled:
    # Not ReferenceTexts: once edited in LIT's page, a value of that type is no list any more.
    separator = reading.separator or "|"
    return lit_types.SparseMultilabel(separator=separator), [value or [] for value in values]


def _tokens_type(values: list[Any], reading: Reading) -> Settled:
    return lit_types.Tokens(parent="text"), [value or [] for value in values]


def _tags_type(values: list[Any], reading: Reading) -> Settled:
    return lit_types.SequenceTags(align="tokens"), [value or [] for value in values]


_TEXT = Field(_read_text, _text_type)
_CATEGORY = Field(_read_text, _category_type)
_LABEL = Field(_read_label, _label_type)
_LABELS = Field(_read_labels, _list_type)
_CANDIDATES = Field(_read_candidates, _list_type)
_TEMPLATE = Field(_read_template, _text_type)
_TOKENS = Field(_items, _tokens_type)
_TAGS = Field(_read_tags, _tags_type)
_ANSWERS = Field(_read_answers, _answers_type)

# In the order in which their columns are looked for.
TASKS = {
    row.name: row
    for row in (
        RecordTask(
            name="text-generation",
            noun="prompt",
            fields={"prompt": _TEXT, "target": _TEXT, "source": _CATEGORY},
            needs=(("prompt",),),
            shown_by=("prompt",),
            line="prompt",
        ),
        RecordTask(
            name="question-answering",
            noun="question",
            fields={"question": _TEXT, "context": _TEXT, "answers": _ANSWERS, "source": _CATEGORY},
            needs=(("question", "context"),),
            shown_by=("question", "context"),
            relate=_relate_answers,
        ),
        RecordTask(
            name="pair-classification",
            noun="pair",
            fields={"text_a": _TEXT, "text_b": _TEXT, "label": _LABEL, "source": _CATEGORY},
            needs=(("text_a", "text_b"),),
            shown_by=("text_a", "text_b"),
        ),
        RecordTask(
            name="token-classification",
            noun="text",
            fields={"text": _TEXT, "tokens": _TOKENS, "tags": _TAGS, "source": _CATEGORY},
            needs=(("text",), ("tokens",)),
            shown_by=("tokens",),
            refines="text-classification",
            line="text",
            relate=_relate_tokens,
        ),
        RecordTask(
            name="zero-shot",
            noun="text",
            fields={
                "text": _TEXT,
                "label": _LABEL,
                "labels": _LABELS,
                "candidate_labels": _CANDIDATES,
                "hypothesis_template": _TEMPLATE,
                "source": _CATEGORY,
            },
            needs=(("text",),),
            shown_by=("text", "candidate_labels"),
            refines="text-classification",
            line="text",
        ),
        RecordTask(
            name="text-classification",
            noun="text",
            fields={"text": _TEXT, "label": _LABEL, "labels": _LABELS, "source": _CATEGORY},
            needs=(("text",),),
            shown_by=("text",),
            line="text",
        ),
    )
}

# Where labels are, and LIT's type of it if they are names and not numbers.
LABEL_FIELDS: dict[str, type[lit_types.LitType]] = {
    "label": lit_types.CategoryLabel,
    "labels": lit_types.SparseMultilabel,
    "tags": lit_types.SequenceTags,
}


def labels_of(example: Mapping[str, Any], spec: lit_types.Spec) -> set[str]:
    """Return the labels that a record holds, in whatever field."""
    found: set[str] = set()
    for name, kind in LABEL_FIELDS.items():
        if isinstance(spec.get(name), kind):
            value = example.get(name) or ()
            found.update([value] if isinstance(value, str) else value)
    return found


def settle(
    examples: list[Example],
    columns: Iterable[str],
    task: RecordTask,
    reading: Reading,
) -> lit_types.Spec:
    """Return the spec, and make every example hold every field in its type.

    Raises:
      BadRecord: a column mixes what does not go together.

    """
    spec: lit_types.Spec = {}
    for name in [*task.fields, *(name for name in columns if name not in task.fields)]:
        values = [example.get(name) for example in examples]
        if name not in task.fields:
            is_table = reading.separator is not None
            spec[name], settled = column_type(_parse_cells(values) if is_table else values)
        elif _is_given(name, values, task):
            spec[name], settled = task.fields[name].settle(values, reading)
        else:
            continue
        for example, value in zip(examples, settled, strict=True):
            example[name] = value
    # In the spec's order, without columns that turned out to hold nothing.
    examples[:] = [{name: example[name] for name in spec} for example in examples]
    return spec


def _is_given(name: str, values: list[Any], task: RecordTask) -> bool:
    """Whether some record has the field; an empty text counts where a record must have one."""
    if any(value is not None and value != "" and value != [] for value in values):
        return True
    return None not in values and any(name in need for need in task.needs)


def column_type(values: list[Any]) -> Settled:
    """Return the type that fits all values (None: missing), and the values in it.

    Booleans, numbers: only if no value is missing, for LIT's client has no way to show a number
    that is not there, and any stand-in would lie. Lists of text: a missing one is empty. All else,
    mixed types too, is text, '' where missing: a category if there are at most 20 different texts
    of at most 50 characters and each stands there twice on average, free text otherwise.
    """
    if all(isinstance(value, bool) for value in values):
        return lit_types.Boolean(), values
    if all(_is_number(value) for value in values):
        step = 1 if all(isinstance(value, int) for value in values) else 0.01
        low, high = min(values), max(values)
        # The datapoint editor marks what lies outside as an error, so the range is the data's own.
        return lit_types.Scalar(min_val=low, max_val=high, default=low, step=step), values
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, list) for value in present):
        return lit_types.SparseMultilabel(), [value or [] for value in values]
    texts = as_text(values)
    different = set(texts)
    if (
        present
        and len(different) <= _MAX_CATEGORIES
        and 2 * len(different) <= len(texts)
        and all(len(text) <= _MAX_CATEGORY_LENGTH for text in different)
    ):
        return lit_types.CategoryLabel(), texts
    return lit_types.TextSegment(), texts


def as_text(values: Iterable[Any]) -> list[str]:
    """Return values as text: '' for None, JSON for what is no text."""
    return [
        ""
        if value is None
        else value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for value in values
    ]


def _parse_cells(cells: list[Any]) -> list[Any]:
    """Return a column of a table as booleans or numbers if every cell reads as one in JSON."""
    if all(cell in ("true", "false") for cell in cells):
        return [cell == "true" for cell in cells]
    return _parse_numbers(cells) or cells


def _parse_numbers(cells: list[Any]) -> list[Any] | None:
    # A leading zero is no JSON number, so that postcodes and the like stay text.
    if not all(len(cell) <= 40 and _JSON_NUMBER.fullmatch(cell) for cell in cells):
        return None
    numbers = [json.loads(cell) for cell in cells]
    return numbers if all(_is_number(number) for number in numbers) else None


def _is_number(value: Any) -> bool:
    """Whether the value is a finite number that JavaScript holds exactly enough to show."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= _EXACT_IN_JAVASCRIPT if isinstance(value, int) else math.isfinite(value)


# --- Characters and words ---


def is_encodable(text: str) -> bool:
    """Whether the text holds no half of a surrogate pair, which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def show(value: Any) -> str:
    """Return the value as it goes into an error: on one line, and short."""
    text = ascii(value[:40]) if isinstance(value, str) else ascii(value)
    return f"{text[:40]}…" if len(text) > 42 else text


def names(values: Iterable[Any]) -> str:
    """Return values as a short list without quotes."""
    shown = [show(str(value)).strip("'") for value in values]
    return ", ".join(shown[:8]) + (", …" if len(shown) > 8 else "") if shown else "(none)"
