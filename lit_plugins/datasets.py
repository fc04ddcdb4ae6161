"""Datasets: files of records as LIT shows them.

A file is one of these, plain or with `.gz` behind it:

- `.jsonl`: one JSON object a line.
- `.csv`, `.tsv`: a header, then a record a line. Separator: comma, tab. Lines end in a newline;
  text with commas or newlines stands in double quotes. A list is one cell, `a|b|c`.
- `.txt`: one prompt or text a line, taken as it stands.

Blank lines are skipped in all of them. What a record must hold depends on its task, which the
columns show if the option `task` does not say it: `lit_plugins.records.TASKS`. Any further column
is kept, and its type is found from all its values (`records.column_type`).

Files are read line by line: no line, and no gzip bomb, can use more memory than the limits allow.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import difflib
import gzip
import io
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

import pydantic
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import types as lit_types

from lit_plugins import plugins, records, resources
from lit_plugins.attribution.methods import METHODS
from lit_plugins.errors import DataError, SpecError
from lit_plugins.records import BadRecord, Example, is_encodable, names, show

if TYPE_CHECKING:
    from lit_nlp.app import DatasetLoadersMap

EXTENSIONS = (".jsonl", ".txt", ".csv", ".tsv")

# From a file's bytes to its records, each a mapping of JSON values.
Reader = Callable[[IO[bytes]], Iterable[Mapping[str, Any]]]
# Of further formats, by their extensions: plugins add to it.
READERS: dict[str, Reader] = {}

# Names that mean something else to LIT: the salience model's own input, and outputs of the models.
# A task's own fields are none of these in its records, so `tokens` may be one.
RESERVED = frozenset(
    {"target_mask", "salience_method", "tokens", "tokens_a", "tokens_b", "response", "probas"}
    | {"score", "scores", "labels_predicted", "predicted_tags", "spans", "answer", "answer_score"}
    | {"attention", "cls_embedding", *METHODS}
)
# LIT's client puts field names into tooltips as Markdown, unescaped: these could smuggle in HTML.
_UNSAFE_IN_NAMES = re.compile(r"[<>&`\[\]\x00-\x1f\x7f\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

_MAX_COLUMNS = 64
_MAX_NAME = 100
_PROBLEMS_SHOWN = 5
_PROBLEMS_KEPT = 100
_LOADER_MAX_EXAMPLES = 10_000
_TASK_BY_COLUMNS = "as the columns say"
# What cannot be written as itself in `?separator=`.
_SEPARATORS = {"space": " ", "comma": ",", "tab": "\t"}


class DatasetOptions(pydantic.BaseModel):
    """How a file is read.

    Attributes:
      max_examples: reading stops after so many good records; the description then says so.
      max_bytes: most bytes to read, counted after decompression.
      max_line: most characters in one line.
      encoding: of the text; with `utf-8` a byte order mark is allowed.
      task: what the records are for, one of `records.TASKS`; if not given, the columns show it.
      columns: new names of columns, `{"question": "prompt"}`; as text `columns=question:prompt`,
        several times for several columns.
      labels: new names of labels, wherever one stands, given as `columns` is.
      separator: what stands between the items of a list in a cell of `.csv` and `.tsv`; `space`,
        `comma` and `tab` are meant by their names too.
      skip_bad: load the good records and report the bad ones, instead of failing.

    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    max_examples: int = pydantic.Field(default=1000, ge=1)
    max_bytes: int = pydantic.Field(default=64 * 2**20, ge=1)
    max_line: int = pydantic.Field(default=2**20, ge=1)
    encoding: str = pydantic.Field(default="utf-8", validate_default=True)
    task: str | None = None
    columns: dict[str, str] = pydantic.Field(default_factory=dict)
    labels: dict[str, str] = pydantic.Field(default_factory=dict)
    separator: str = pydantic.Field(default="|", min_length=1, max_length=10)
    skip_bad: bool = False

    @pydantic.field_validator("task")
    @classmethod
    def _known_task(cls, value: str | None) -> str | None:
        if value is not None and value not in records.TASKS:
            hint = _near(value, records.TASKS)
            raise ValueError(f"is no task.{hint} Tasks: {', '.join(records.TASKS)}")
        return value

    @pydantic.field_validator("separator")
    @classmethod
    def _meant_separator(cls, value: str) -> str:
        return _SEPARATORS.get(value, value)

    @pydantic.field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            info = codecs.lookup(value)
            "".encode(info.name)  # LookupError for codecs that are no text encodings, as rot13
        except (LookupError, ValueError):
            raise ValueError("is no text encoding; for example utf-8, cp1252, utf-16") from None
        return "utf-8-sig" if info.name == "utf-8" else info.name


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset that somebody asked for: its name in LIT, its file, and how to read it."""

    name: str
    path: Path
    options: DatasetOptions

    def load(self) -> RecordDataset:
        """Read the file; raises DataError as `load` does."""
        return _load(self.path, str(self.path), self.name, self.options)


class RecordDataset(lit_dataset.Dataset):
    """Records of one task, read from a file or made in memory.

    Attributes:
      name: the dataset's name in LIT.
      task: what the records are for: one of `records.TASKS`.
      places: where each example is from, `file:line` or `record N`.
      bad: how many records were left out because they are bad (only with `skip_bad`).
      problems: what is wrong with the first of them, as `file:line: field: problem`.
      truncated: whether `max_examples` stopped the reading before the end.

    """

    def __init__(
        self,
        name: str,
        spec: lit_types.Spec,
        examples: list[Example],
        description: str,
        *,
        task: str,
        places: Sequence[str],
        bad: int = 0,
        problems: Sequence[str] = (),
        truncated: bool = False,
    ):
        super().__init__(
            spec=spec, examples=cast("list[lit_types.JsonDict]", examples), description=description
        )
        self.name = name
        self.task = task
        self.places = tuple(places)
        self.bad = bad
        self.problems = tuple(problems)
        self.truncated = truncated

    @classmethod
    def init_spec(cls) -> None:
        """No constructor for LIT's Configure dialog: files are added through `loaders`."""
        return

    def load(self, path: str) -> NoReturn:
        """Refuse: `path` would come from a client."""
        raise DataError("Data points cannot be loaded from a path. Add a dataset file instead.")

    def save(self, examples: list[lit_types.IndexedInput], path: str) -> NoReturn:
        """Refuse: `path` would come from a client."""
        raise DataError("Data points cannot be saved on the server. Copy them from the data table.")


def load(
    path: str | Path,
    *,
    name: str | None = None,
    max_examples: int = 1000,
    max_bytes: int = 64 * 2**20,
    max_line: int = 2**20,
    encoding: str = "utf-8",
    task: str | None = None,
    columns: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    separator: str = "|",
    skip_bad: bool = False,
) -> RecordDataset:
    """Read a file of records; see the module's text for formats, `DatasetOptions` for arguments.

    Returns:
      A dataset whose spec holds the task's fields, without those that no record has, then the
      further columns.

    Raises:
      DataError: the file cannot be read, or some records are bad and `skip_bad` is off, or none is
        good. It names file, line and field, and counts the bad records and the good ones.
      SpecError: an argument is invalid.

    """
    options = _options(
        {
            "max_examples": max_examples,
            "max_bytes": max_bytes,
            "max_line": max_line,
            "encoding": encoding,
            "task": task,
            "columns": dict(columns or {}),
            "labels": dict(labels or {}),
            "separator": separator,
            "skip_bad": skip_bad,
        },
        "load()",
    )
    return _load(Path(path), str(path), name or _name_from(Path(path)), options)


def from_records(
    examples: Iterable[Mapping[str, Any]],
    name: str,
    *,
    task: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> RecordDataset:
    """Make a dataset of records in memory, by the same rules as lines of a `.jsonl` file.

    Raises:
      DataError: a record is bad, or there is none. It names the record, from 0, and the field.
      SpecError: an argument is invalid.

    """
    options = _options({"task": task, "labels": dict(labels or {})}, "from_records()")
    found = _Collected(options, records.Reading(renames=options.labels))
    for number, example in enumerate(examples):
        try:
            found.add(_as_json(example), f"record {number}")
        except BadRecord as error:
            raise DataError(f"{name}: record {number}: {error}") from None
    try:
        return found.dataset(name, name)
    except BadRecord as error:
        raise DataError(f"{name}: {error}.") from None


def _as_json(example: Mapping[str, Any]) -> Example:
    """Return the record as a line of JSON would give it."""
    fields: Example = {}
    for key, value in example.items():
        if not isinstance(key, str):
            raise BadRecord(f"{show(key)}: is no name of a field, expected text")
        try:
            fields[key] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            raise BadRecord(
                f"{show(key)}: {show(value)} is no JSON value; write it as text"
            ) from None
    return fields


def unknown_labels(dataset: lit_dataset.Dataset, labels: Collection[str]) -> list[tuple[str, int]]:
    """Return the dataset's labels that are none of `labels`, each with how many records have it.

    The most frequent ones first. Numbers that a regression would give are no labels.
    """
    known = set(labels)
    counts = Counter(
        label
        for example in dataset.examples
        for label in records.labels_of(example, dataset.spec())
        if label not in known
    )
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def describe_unknown(
    dataset: RecordDataset, model_name: str, labels: Collection[str]
) -> str | None:
    """Say in a line which labels of a dataset a model does not have; None if it has them all.

    Such records have no right answer that the model could give. The line names the first of each
    label's records, the model's labels, and how to rename.
    """
    unknown = unknown_labels(dataset, labels)
    if not unknown:
        return None
    spec = dataset.spec()
    shown = []
    for label, count in unknown[:_PROBLEMS_SHOWN]:
        held = (label in records.labels_of(example, spec) for example in dataset.examples)
        place = dataset.places[next(number for number, has in enumerate(held) if has)]
        shown.append(f"{show(label)} ({count} record{'' if count == 1 else 's'}, first {place})")
    more = len(unknown) - len(shown)
    first = unknown[0][0] if unknown[0][0].isprintable() else show(unknown[0][0])
    return (
        f"Dataset {dataset.name!r} has labels that model {model_name!r} does not have: "
        f"{', '.join(shown)}{f', and {more} more' if more else ''}. The model's labels: "
        f"{names(labels)}. Rename in the dataset: labels={first}:{_meant(unknown[0][0], labels)}."
    )


def _meant(label: str, labels: Collection[str]) -> str:
    """Return the one of `labels` that differs in case, or that one is the other's beginning."""
    own = label.casefold()
    near = [x for x in labels if x.casefold().startswith(own) or own.startswith(x.casefold())]
    return near[0] if len(near) == 1 else "NEW"


def samples() -> dict[str, Path]:
    """Return the packaged sample sets, and those of plugins, by name."""
    folders = (*plugins.DATASET_FOLDERS, resources.folder("datasets"))  # ours win
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.jsonl"))}


def parse_dataset(text: str) -> DatasetSpec:
    """Parse `NAME=PATH?key=value,key=value`.

    The options are the fields of `DatasetOptions`, separated by `,` or `&`. `PATH` may be the name
    of a packaged sample set. `NAME=` may be left out: the file's name without its extensions.

    Raises:
      SpecError: the text is malformed, or an option is unknown or invalid.

    """
    target, _, query = text.strip().partition("?")
    name, equals, source = target.partition("=")
    if not equals or "/" in name:  # a bare path, which may hold an equals sign
        name, source = None, target
    if not source:
        raise SpecError(
            f"Dataset {text!r} has no path; expected NAME=PATH, PATH, or a sample set: "
            f"{', '.join(samples())}."
        )
    path = samples().get(source, Path(source))
    if name is None:
        name = _name_from(path)
    if not _NAME.fullmatch(name):
        raise SpecError(
            f"Dataset name {name!r} in {text!r} is invalid; expected letters, digits and _ . - "
            "after a first letter or digit."
        )
    return DatasetSpec(name, path, _options(_parse_query(query, text), text))


def split_datasets(text: str) -> list[str]:
    """Split a comma-separated list of dataset specs, as one flag holds.

    Options may be separated by commas too: `a=x.jsonl?max_examples=5,skip_bad=true,b=y.txt` is two
    specs. After a `?`, `key=value` continues the options if `key` is an option's name or `value`
    can be no dataset.
    """
    specs: list[str] = []
    for piece in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = piece.partition("=")
        if (
            specs
            and "?" in specs[-1]
            and equals
            and (key in DatasetOptions.model_fields or not _may_be_dataset(value))
        ):
            specs[-1] += f",{piece}"
        else:
            specs.append(piece)
    return specs


def loaders(folders: Sequence[Path]) -> DatasetLoadersMap:
    """Return the loader that LIT's Configure dialog offers for adding a file of records.

    Its `path` is the name of a packaged sample set, or a file inside one of `folders`: relative to
    one of them, or absolute. Links are followed before this is checked. A path outside is refused
    with the same words as a missing file, so that a client cannot find out what exists.
    """
    allowed = [Path(folder).resolve() for folder in folders]

    def records_file(
        path: str = "",
        task: str = _TASK_BY_COLUMNS,
        columns: str = "",
        labels: str = "",
        max_examples: int = 100,
        skip_bad: bool = False,
    ) -> RecordDataset:
        if not isinstance(path, str) or not path.strip():
            raise DataError(f"path is {show(path)}; expected a file or one of {names(samples())}.")
        if not _is_integer(max_examples) or not 1 <= max_examples <= _LOADER_MAX_EXAMPLES:
            raise DataError(
                f"max_examples is {show(max_examples)}; expected a whole number from 1 to "
                f"{_LOADER_MAX_EXAMPLES}."
            )
        if not isinstance(skip_bad, bool):
            raise DataError(f"skip_bad is {show(skip_bad)}; expected true or false.")
        shown = path.strip()
        found = samples().get(shown) or _find_inside(shown, allowed)
        if found is None:
            raise DataError(
                f"There is no dataset file {show(shown)} in the allowed folders: "
                f"{names(folder.name for folder in allowed)}. Put the file there, or choose a "
                f"sample set: {names(samples())}."
            )
        values: dict[str, Any] = {"max_examples": int(max_examples), "skip_bad": skip_bad}
        if task != _TASK_BY_COLUMNS:
            values["task"] = task
        for key, text in (("columns", columns), ("labels", labels)):
            if not isinstance(text, str):
                raise DataError(f"{key} is {show(text)}; expected OLD:NEW, or several with commas.")
            values[key] = dict(
                _renaming(key, x.strip(), shown) for x in text.split(",") if x.strip()
            )
        return _load(found, shown, _name_from(found), _options(values, shown))

    spec: lit_types.Spec = {
        "path": lit_types.String(default=next(iter(samples()), "")),
        "task": lit_types.CategoryLabel(
            default=_TASK_BY_COLUMNS, vocab=[_TASK_BY_COLUMNS, *records.TASKS], required=False
        ),
        "columns": lit_types.String(default="", required=False),
        "labels": lit_types.String(default="", required=False),
        "max_examples": lit_types.Integer(
            default=100, min_val=1, max_val=_LOADER_MAX_EXAMPLES, required=False
        ),
        "skip_bad": lit_types.Boolean(default=False, required=False),
    }
    return {"records": (records_file, spec)}


# --- Options and names ---


def _options(values: Mapping[str, Any], where: str) -> DatasetOptions:
    try:
        return DatasetOptions(**values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        valid = list(DatasetOptions.model_fields)
        if first["type"] == "extra_forbidden":
            problem = f"Unknown option {key!r}.{_near(key, valid)}"
        else:
            problem = f"Option {key}={show(first['input'])}: {first['msg']}."
        raise SpecError(f"Dataset {where!r}: {problem} Options: {', '.join(valid)}.") from None


def _near(name: str, valid: Collection[str]) -> str:
    near = difflib.get_close_matches(name, valid, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _renaming(key: str, text: str, where: str) -> tuple[str, str]:
    """Parse `OLD:NEW`."""
    old, colon, new = text.rpartition(":")
    if not (colon and old and new):
        raise SpecError(f"Dataset {where!r}: '{key}={text}' should be {key}=OLD:NEW.")
    return old, new


def _parse_query(query: str, text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for piece in filter(None, re.split("[,&]", query)):
        key, equals, value = piece.partition("=")
        if not equals:
            raise SpecError(f"Dataset {text!r}: option {piece!r} has no value; expected key=value.")
        if key in ("columns", "labels"):
            old, new = _renaming(key, value, text)
            values.setdefault(key, {})[old] = new
        elif key in values:
            raise SpecError(f"Dataset {text!r}: option {key!r} is given twice.")
        else:
            values[key] = value
    return values


def extensions() -> tuple[str, ...]:
    """Return what the name of a file of records ends in, `.gz` left out."""
    return (*EXTENSIONS, *READERS)


def _format_of(path: Path) -> str | None:
    """Return the extension that says the format, `.gz` left out, or None."""
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    return suffix if suffix in extensions() else None


def _may_be_dataset(text: str) -> bool:
    return text in samples() or _format_of(Path(text.partition("?")[0])) is not None


def _name_from(path: Path) -> str:
    stem = re.sub(r"\.gz$", "", path.name, flags=re.IGNORECASE)
    stem = re.sub(r"\.[^.]+$", "", stem)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).lstrip("_.-") or "records"


def _find_inside(text: str, allowed: Sequence[Path]) -> Path | None:
    """Return the regular file that `text` names inside an allowed folder, links resolved."""
    for folder in allowed:
        try:
            path = (folder / text).resolve()  # an absolute text replaces the folder
            # A device or a named pipe is no regular file; reading it might never end.
            if any(path.is_relative_to(root) for root in allowed) and path.is_file():
                return path
        except (OSError, ValueError, RuntimeError):  # name too long, NUL in it, circle of links
            continue
    return None


# --- Reading ---


class _FileProblem(Exception):
    """The file cannot be read any further."""


@dataclass
class Record:
    """A record at `line`: its fields, or what is wrong with it."""

    line: int
    fields: Example
    problem: str | None = None


class _Metered(io.RawIOBase):
    """Passes bytes on, and refuses to pass more than `limit`."""

    def __init__(self, stream: io.BufferedIOBase, limit: int):
        self._stream = stream
        self._limit = limit
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto(buffer)
        self._count += count
        if self._count > self._limit:
            raise _FileProblem(
                f"holds more than {self._limit} bytes of text; split the file, or raise max_bytes"
            )
        return count


class _Lines:
    """The lines of a text stream, at most `limit` characters of each in memory.

    Iterating gives the good lines without their ends. A bad line gives its problem to `on_bad`.
    `number` is the number of the last line read, from 1.
    """

    def __init__(
        self, stream: io.TextIOBase, options: DatasetOptions, on_bad: Callable[[int, str], None]
    ):
        self._stream = stream
        self._options = options
        self._on_bad = on_bad
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        limit = self._options.max_line
        while line := self._stream.readline(limit + 2):  # two more for the line's end
            self.number += 1
            text = line.removesuffix("\n").removesuffix("\r")
            if len(text) > limit:
                while line and not line.endswith("\n"):
                    line = self._stream.readline(limit)
                self._on_bad(
                    self.number,
                    f"is longer than {limit} characters; split it, or raise max_line",
                )
            elif problem := self._text_problem(text):
                self._on_bad(self.number, problem)
            else:
                yield text

    def _text_problem(self, text: str) -> str | None:
        if "\0" in text:
            column = text.index("\0") + 1
            return (
                f"holds a NUL byte at column {column}; is this a text file, in the right encoding?"
            )
        if not is_encodable(text):
            # The stream decodes with surrogateescape: a byte 0xE9 that fits nowhere is U+DCE9.
            column, char = next((i, c) for i, c in enumerate(text, 1) if "\udc00" <= c <= "\udfff")
            return (
                f"is not {_encoding_name(self._options)}: byte 0x{ord(char) - 0xDC00:02x} at "
                f"column {column}; convert the file, or name its encoding (encoding=cp1252)"
            )
        return None


@dataclass
class _Collected:
    """What reading gave so far."""

    options: DatasetOptions
    reading: records.Reading
    good: list[Example] = field(default_factory=list)
    places: list[str] = field(default_factory=list)  # of the good ones
    bad: int = 0
    problems: list[str] = field(default_factory=list)
    task: records.RecordTask | None = None
    columns: dict[str, None] = field(default_factory=dict)  # a set in order of appearance
    renamed: set[str] = field(default_factory=set)
    truncated: bool = False

    def __post_init__(self) -> None:
        if self.options.task:
            self.task = records.TASKS[self.options.task]

    def add(self, record: Mapping[str, Any], place: str) -> None:
        """Check a record and keep it, its columns renamed and nulls left out.

        Raises:
          BadRecord: it is bad; nothing is kept of it.

        """
        renames = self.options.columns
        renamed = [(renames.get(key, key), value) for key, value in record.items()]
        example = dict(renamed)
        if len(example) < len(renamed):
            new = next(new for new in renames.values() if new in example)
            raise BadRecord(f"{new}: stands there twice once the columns are renamed; keep one")
        task = self._task_of(example)
        example = {key: _flatten(value) for key, value in example.items()} | task.read(
            example, self.reading
        )
        for key, value in example.items():
            _check_name(key, task)
            check_characters(key, value)
        new_columns = [key for key in example if key not in self.columns]
        if len(self.columns) + len(new_columns) > _MAX_COLUMNS:
            raise BadRecord(
                f"{show(new_columns[-1])}: is one column too many; at most {_MAX_COLUMNS} in a file"
            )
        self.task = task
        self.columns.update(dict.fromkeys(new_columns))
        self.renamed.update(key for key in renames if key in record)
        self.good.append({key: value for key, value in example.items() if value is not None})
        self.places.append(place)

    def _task_of(self, example: Example) -> records.RecordTask:
        if self.options.task:
            return records.TASKS[self.options.task]
        task = records.find(example, self.task) or records.nearest(example)
        if task is None:
            has = f"has {names(example)}" if example else "is empty"
            raise BadRecord(
                f"shows no task: the record {has}; rename what it holds (columns=OLD:NEW) to "
                f"{records.ways()}"
            )
        return task

    def dataset(self, name: str, short: str) -> RecordDataset:
        """Return the dataset of the good records.

        Raises:
          BadRecord: there are none, they do not go together, or there was nothing to rename.

        """
        if self.task is None or not self.good:
            what = f"{self.task.noun}s" if self.task else "prompts or other records"
            raise BadRecord(f"holds no {what}")
        if unused := [old for old in self.options.columns if old not in self.renamed]:
            raise BadRecord(
                f"no record has a column {unused[0]!r} to rename; "
                f"columns: {', '.join(self.columns)}"
            )
        spec = records.settle(self.good, self.columns, self.task, self.reading)
        unused = [old for old in self.options.labels if old not in self.reading.renamed]
        if unused and not self.truncated:
            seen = sorted({label for x in self.good for label in records.labels_of(x, spec)})
            raise BadRecord(f"no record has a label {unused[0]!r} to rename; labels: {names(seen)}")
        return RecordDataset(
            name,
            spec,
            self.good,
            _describe(short, spec, self),
            task=self.task.name,
            places=self.places,
            bad=self.bad,
            problems=self.problems,
            truncated=self.truncated,
        )


def _load(path: Path, shown: str, name: str, options: DatasetOptions) -> RecordDataset:
    """Read `path`; errors call it `shown`, which may be less than the whole path."""
    kind = _known_format(path, shown)
    short = path.name
    table = kind in (".csv", ".tsv")
    reading = records.Reading(options.separator if table else None, options.labels)
    found = _Collected(options, reading)

    def on_bad(line: int, problem: str) -> None:
        found.bad += 1
        if len(found.problems) < _PROBLEMS_KEPT:
            found.problems.append(f"{short}:{line}: {problem}")

    problem = None
    try:
        with _opened(path) as raw:
            _collect(raw, kind, short, found, on_bad)
    except _UNREADABLE as error:
        problem = _problem_of(error, options)

    if problem is not None:
        context = _count_text(found) if found.good or found.bad else ""
        raise DataError(f"{shown}: {problem}.{context}")
    if found.bad and not options.skip_bad:
        hint = " Mend them, or load the good ones alone with skip_bad=true." if found.good else ""
        raise DataError(f"{shown}:{_count_text(found)}{hint}")
    try:
        return found.dataset(name, short)
    except BadRecord as error:
        context = _count_text(found) if found.bad and not found.good else ""
        raise DataError(f"{shown}: {error}.{context}") from None


def stream(
    path: Path, options: DatasetOptions, file: io.BufferedIOBase | None = None
) -> Iterator[Record]:
    """Each record of a file in its turn, bad ones too, in as much memory as a line takes.

    Only the syntax is checked here: `RecordTask.read` checks what a record holds, and it is the
    caller who renames columns. `max_examples` and `skip_bad` are not looked at.

    Args:
      path: the file; of `file`, what errors call it.
      options: how it is read.
      file: read this, as `.jsonl`, and not what lies at `path`.

    Raises:
      DataError: the file cannot be read, or no further.

    """
    kind = ".jsonl" if file is not None else _known_format(path, str(path))
    bad: list[Record] = []
    try:
        with _opened(path) if file is None else contextlib.nullcontext(file) as raw:
            for record in _records(raw, kind, options, lambda *one: bad.append(_bad(*one))):
                yield from bad  # lines before this record
                bad.clear()
                yield record
            yield from bad
    except _UNREADABLE as error:
        raise DataError(f"{path}: {_problem_of(error, options)}.") from None


def _bad(line: int, problem: str) -> Record:
    return Record(line, {}, problem)


def _known_format(path: Path, shown: str) -> str:
    kind = _format_of(path)
    if kind is None:
        raise DataError(
            f"{shown}: unknown kind of file {path.suffix!r}; expected one of "
            f"{', '.join(extensions())}, or one of these with .gz behind it."
        )
    return kind


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """The bytes of a file, decompressed."""
    # Opening a named pipe would wait for ever; folders and missing files fail by themselves.
    if path.exists() and not path.is_file() and not path.is_dir():
        raise _FileProblem("is not a regular file; expected a file of records")
    with path.open("rb") as file:
        # A plain file that is called .gz is an error, not a guess.
        raw = gzip.open(file) if path.name.lower().endswith(".gz") else file  # noqa: SIM115
        yield cast("io.BufferedIOBase", raw)


# ValueError: a NUL in the path, or text that is not in the encoding.
_UNREADABLE = (_FileProblem, OSError, EOFError, zlib.error, ValueError)


def _problem_of(error: Exception, options: DatasetOptions) -> str:
    """What an error of _UNREADABLE says about the file."""
    match error:
        case FileNotFoundError():
            return "does not exist; check the path"
        case IsADirectoryError():
            return "is a folder; expected a file of records"
        case gzip.BadGzipFile():
            return "is not a gzip file, or a damaged one; drop .gz from its name, or copy it again"
        case EOFError() | zlib.error():
            return "is a gzip file that is cut off or damaged; copy it again"
        case UnicodeError():
            return f"is not {_encoding_name(options)}; name its encoding (encoding=utf-8)"
        case OSError() | ValueError():
            return f"cannot be read: {getattr(error, 'strerror', None) or error}"
        case _:
            return str(error)


def _collect(
    raw: io.BufferedIOBase,
    kind: str,
    short: str,
    found: _Collected,
    on_bad: Callable[[int, str], None],
) -> None:
    """Read records from `raw`, the file `short`, into `found` until its end or `max_examples`."""
    options = found.options
    for record in _records(raw, kind, options, on_bad):
        if len(found.good) == options.max_examples:
            found.truncated = True
            return
        try:
            if record.problem is not None:
                raise BadRecord(record.problem)
            found.add(record.fields, f"{short}:{record.line}")
        except BadRecord as error:
            on_bad(record.line, str(error))


def _records(
    raw: io.BufferedIOBase, kind: str, options: DatasetOptions, on_bad: Callable[[int, str], None]
) -> Iterator[Record]:
    """The records in `raw`; a line that cannot be read goes to `on_bad` in its turn."""
    buffered = io.BufferedReader(_Metered(raw, options.max_bytes))
    if options.encoding == "utf-8-sig" and buffered.peek(2)[:2] in (
        codecs.BOM_UTF16_LE,
        codecs.BOM_UTF16_BE,
    ):
        raise _FileProblem("is UTF-16, expected UTF-8; convert it, or pass encoding=utf-16")
    if kind in READERS:
        return _foreign_records(READERS[kind], buffered, kind)
    # UTF-16 and the like know no surrogateescape: there a bad byte ends the reading.
    stream = io.TextIOWrapper(
        buffered, encoding=options.encoding, errors="surrogateescape", newline="\n"
    )
    lines = _Lines(stream, options, on_bad)
    if kind == ".jsonl":
        return _json_records(lines)
    if kind == ".txt":
        return _text_records(lines, records.TASKS[options.task] if options.task else None)
    return _csv_records(lines, "\t" if kind == ".tsv" else ",", options)


def _foreign_records(read: Reader, file: IO[bytes], kind: str) -> Iterator[Record]:
    """The records that a plugin's reader makes of a file."""
    try:
        for number, fields in enumerate(read(file), 1):
            try:
                yield Record(number, _as_json(fields))
            except BadRecord as error:
                yield _bad(number, str(error))
    except _UNREADABLE:
        raise
    except Exception as error:  # whatever a stranger's code raises
        raise _FileProblem(f"cannot be read by the reader of {kind}: {error!r}") from error


def _text_records(lines: _Lines, task: records.RecordTask | None) -> Iterator[Record]:
    task = task or records.TASKS["text-generation"]
    if (name := task.line) is None:
        raise _FileProblem(
            f"holds one text a line, and {task.name} needs {' and '.join(task.needs[0])}; use "
            ".jsonl, .csv or .tsv"
        )
    return (Record(lines.number, {name: x}) for x in lines if x.strip())


def _json_records(lines: _Lines) -> Iterator[Record]:
    def reject_duplicates(pairs: list[tuple[str, Any]]) -> Example:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise BadRecord(f"{show(twice)}: stands there twice; keep one")
        return fields

    def reject_constant(literal: str) -> NoReturn:
        raise BadRecord(f"{literal} is no JSON number; write null, or leave the field out")

    def parse_float(literal: str) -> float:
        if not math.isfinite(number := float(literal)):
            raise BadRecord(f"number {show(literal)} is out of range; write it as text")
        return number

    decoder = json.JSONDecoder(
        object_pairs_hook=reject_duplicates, parse_constant=reject_constant, parse_float=parse_float
    )
    for line in lines:
        if not line.strip():
            continue
        fields: Any = {}
        problem = None
        try:
            fields = decoder.decode(line)
            if not isinstance(fields, dict):
                problem = f'is {show(fields)}, expected an object such as {{"prompt": "text"}}'
        except json.JSONDecodeError as error:
            problem = f"is no JSON: {error.msg} at column {error.colno}; mend or remove the line"
        except RecursionError:
            problem = "is nested too deeply; keep such data as text"
        except BadRecord as error:
            problem = str(error)
        except ValueError:  # Python refuses to convert integers of thousands of digits
            problem = "holds a number of thousands of digits; write it as text"
        yield Record(lines.number, fields if problem is None else {}, problem)


def _flatten(value: Any) -> Any:
    """Return objects and mixed lists as compact JSON; plain values and lists of text unchanged."""
    if isinstance(value, dict) or (
        isinstance(value, list) and not all(isinstance(item, str) for item in value)
    ):
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        except RecursionError:
            raise BadRecord("is nested too deeply; keep such data as text") from None
    return value


def _csv_records(lines: _Lines, delimiter: str, options: DatasetOptions) -> Iterator[Record]:
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    try:
        header = next((row for row in reader if row), None)
    except csv.Error as error:
        raise _FileProblem(f"line {lines.number} is no CSV header: {error}") from None
    if header is None:
        return
    renamed = [options.columns.get(column, column) for column in header]
    if twice := [column for column in renamed if renamed.count(column) > 1]:
        raise _FileProblem(
            f"line {lines.number}: the column {show(twice[0])} stands there twice; rename one"
        )
    task = records.TASKS[options.task] if options.task else None
    task = task or records.find(renamed) or records.nearest(renamed)
    missing = task.lacks(renamed) if task else None
    if task is None or missing:
        what = f"no column {missing!r} in the header" if missing else "the header shows no task"
        to = missing or f"NEW) to {records.ways()}"
        raise _FileProblem(
            f"line {lines.number}: {what}; it has {names(header)}. Rename one (columns=OLD:{to}"
            + (")" if missing else "")
            + ("" if len(header) > 1 else f", or separate by {delimiter!r}")
        )
    while True:
        start = lines.number + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            hint = (
                "for longer text use .jsonl" if "field limit" in str(error) else "check the quotes"
            )
            yield Record(start, {}, f"is no CSV: {error}; {hint}")
            continue
        if row is None:
            return
        if not row:
            continue
        if len(row) != len(header):
            problem = (
                f"has {len(row)} fields, expected {len(header)} ({names(header)}); quote text "
                f"that holds {delimiter!r} or a newline"
            )
            yield Record(start, {}, problem)
        else:
            yield Record(start, dict(zip(header, row, strict=True)))


def _check_name(name: str, task: records.RecordTask) -> None:
    reserved = name in RESERVED or name in METHODS
    if name.startswith("_") or (reserved and name not in task.fields):
        raise BadRecord(f"{show(name)}: LIT uses this name itself; rename it (columns=OLD:NEW)")
    if not name.strip() or len(name) > _MAX_NAME or _UNSAFE_IN_NAMES.search(name):
        raise BadRecord(
            f"{show(name)}: cannot be a column's name; expected 1 to {_MAX_NAME} characters "
            "without < > & ` [ ] and control characters"
        )


def check_characters(name: str, value: Any) -> None:
    """Raise BadRecord for text that holds what is no character."""
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and "\0" in text:
            raise BadRecord(f"{name}: holds a NUL character; remove it")
        if isinstance(text, str) and not is_encodable(text):
            raise BadRecord(f"{name}: holds half a surrogate pair (\\ud800 to \\udfff); remove it")


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1


# --- Words ---


def _encoding_name(options: DatasetOptions) -> str:
    return "utf-8" if options.encoding == "utf-8-sig" else options.encoding


def _count_text(found: _Collected) -> str:
    good = len(found.good)
    if not found.bad:
        return f" Good records before: {good}."
    more = "; …" if found.bad > _PROBLEMS_SHOWN else ""
    first = "; ".join(found.problems[:_PROBLEMS_SHOWN])
    return f" Of {good + found.bad} records {found.bad} bad, {good} good. Bad: {first}{more}."


def _describe(short: str, spec: lit_types.Spec, found: _Collected) -> str:
    """Return Markdown for LIT's dataset page; the first line is its preview."""
    count = len(found.good)
    task = cast("records.RecordTask", found.task)
    lines = [f"{count} {task.noun}{'' if count == 1 else 's'} from {_plain(short)}."]
    if found.truncated:
        lines[0] = f"The first {lines[0]} The rest was not read: max_examples is {count}."
    if found.bad:
        lines[0] += f" Left out: {found.bad} bad record{'' if found.bad == 1 else 's'}."
        lines += ["", *(f"- {_plain(problem)}" for problem in found.problems[:_PROBLEMS_SHOWN])]
        lines += ["- …"] if found.bad > _PROBLEMS_SHOWN else []
    fields = ", ".join(f"{_plain(key)} ({type(value).__name__})" for key, value in spec.items())
    return "\n".join([*lines, "", f"Task: {task.name}. Fields: {fields}."])


def _plain(text: str) -> str:
    """Return Markdown that shows `text` as it is.

    LIT's client renders descriptions as Markdown with HTML in it, and file names and field names
    are not ours.
    """
    return "".join(
        char if char.isalnum() or char in " .,:;-_/" else f"&#{ord(char)};" for char in text
    )
