"""Records of a file or of standard input, one after another, in as much memory as a chunk takes."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from lit_plugins import datasets, records
from lit_plugins.datasets import DatasetOptions
from lit_plugins.errors import DataError, SpecError
from lit_plugins.records import BadRecord, Reading

STDIN = "-"
# What a reader of the results may want to compare them with.
_GOLD = ("label", "labels", "tags", "answers")
_ROWS = 256  # of a parquet file that are read at a time


@dataclass(frozen=True)
class Item:
    """One record of the input.

    Attributes:
        number: Of the record in the input, from 1, bad ones counted.
        line: Where it begins, from 1; of a parquet file the row.
        fields: What the model reads.
        about: What is handed on with the result: `number`, and `id` and labels if there are any.
        problem: What is wrong with it; None if nothing is.
        field: The field of which that is so, if it is one.

    """

    number: int
    line: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    field: str | None = None


@dataclass(frozen=True)
class Source:
    """Where records are from, and what is taken of them.

    Attributes:
        path: The file; None for standard input.
        options: How it is read.
        task: What the model does, one of `records.TASKS`.
        further: Columns that hold more: `target` and `id`, by what they are.
        limit: Records that are read at most.

    """

    path: Path | None
    options: DatasetOptions
    task: str
    further: Mapping[str, str]
    limit: int | None = None

    @property
    def name(self) -> str:
        """What errors call it."""
        return "standard input" if self.path is None else self.path.name

    def digest(self) -> str:
        """The SHA-256 of the file. Raises DataError."""
        assert self.path is not None
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror or error}.") from None

    def count(self) -> int:
        """How many records there are: the file is read once. Raises DataError."""
        rows = self._raw()
        return sum(1 for _ in (rows if self.limit is None else itertools.islice(rows, self.limit)))

    def items(self) -> Iterator[Item]:
        """Each record in its turn. Raises DataError once the file cannot be read further."""
        row = _row(self.task)
        table = self.path is not None and Path(
            self.path.name.lower().removesuffix(".gz")
        ).suffix in (".csv", ".tsv")
        reading = Reading(self.options.separator if table else None, self.options.labels)
        for number, record in enumerate(self._raw(), 1):
            if self.limit is not None and number > self.limit:
                return
            yield self._item(number, record, row, reading)

    def _raw(self) -> Iterator[datasets.Record]:
        if self.path is None:
            # Unbuffered, so that what has come is seen before more does.
            raw = cast(io.BufferedIOBase, getattr(sys.stdin.buffer, "raw", sys.stdin.buffer))
            return datasets.stream(Path("standard input"), self.options, raw)
        if self.path.suffix.lower() == ".parquet":
            return _parquet(self.path)
        return datasets.stream(self.path, self.options)

    def _item(
        self, number: int, record: datasets.Record, row: records.RecordTask, reading: Reading
    ) -> Item:
        about: dict[str, Any] = {"number": number}
        try:
            if record.problem is not None:
                raise BadRecord(record.problem)
            example = self._renamed(record.fields)
            if (own := example.get(self.further["id"])) is not None:
                about["id"] = _plain(own)
            found = row.read(example, reading)
            found = {name: value for name, value in found.items() if value is not None}
            if column := self.further.get("target"):
                found["target"] = _target(example, column)
            for name, value in found.items():
                datasets.check_characters(name, value)
        except BadRecord as error:
            name, colon, _ = str(error).partition(": ")
            known = colon and (name in row.fields or name in record.fields)
            return Item(number, record.line, {}, about, str(error), name if known else None)
        return Item(number, record.line, found, about | self._gold(example, reading))

    def _renamed(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        renames = self.options.columns
        found = {renames.get(key, key): value for key, value in fields.items()}
        if len(found) < len(fields):
            new = next(new for new in renames.values() if new in found)
            raise BadRecord(f"{new}: stands there twice once the columns are renamed; keep one")
        return found

    def _gold(self, example: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
        """The labels of a record; without those that are none, since nothing depends on them."""
        row = records.TASKS[self.task]
        fields = {name: row.fields[name] for name in _GOLD if example.get(name) is not None
                  and name in row.fields}  # fmt: skip
        if not fields:
            return {}
        needed = {name: row.fields[name] for need in row.needs for name in need}
        try:
            found = dataclasses.replace(row, fields=needed | fields).read(example, reading)
        except BadRecord:
            return {}
        return {name: found[name] for name in fields if found.get(name) is not None}


def _row(task: str) -> records.RecordTask:
    """What the model reads of a record: the task's row without what only a reader wants."""
    row = records.TASKS[task]
    left_out = {*_GOLD, "source"}
    fields = {name: kind for name, kind in row.fields.items() if name not in left_out}
    return dataclasses.replace(row, fields=fields)


def _target(example: Mapping[str, Any], column: str) -> str:
    value = example.get(column)
    if value is None or value == "":
        raise BadRecord(f"{column}: is missing, and --target-column names it; give each record one")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRecord(f"{column}: is {records.show(value)}, expected text in quotes")
    return str(value)


def source_of(
    text: str | None,
    task: str,
    *,
    target_column: str | None = None,
    id_column: str = "id",
    limit: int | None = None,
) -> Source:
    """The source that an argument names: `-`, a sample set, or PATH?options as for launch.py.

    Raises SpecError for options that are none, or no input at all.
    """
    further = {"id": id_column} | ({"target": target_column} if target_column else {})
    if text is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise SpecError(
                "Nothing to read. Name a file ("
                f"{', '.join(datasets.extensions())}, .parquet), a sample set such as "
                "movie_reviews, or - for lines of JSON on standard input."
            )
        text = STDIN
    if text == STDIN:
        options = DatasetOptions(task=task, max_bytes=sys.maxsize)
        return Source(None, options, task, further, limit)
    spec = datasets.parse_dataset(f"input={text}")  # a name of ours, so that any path will do
    given = spec.options.model_fields_set
    if "task" in given and spec.options.task != task:
        raise SpecError(f"{text}: task={spec.options.task}, and the model is for {task}. Drop it.")
    if "skip_bad" in given:
        raise SpecError(f"{text}: skip_bad is not needed here: bad records go to a file of theirs.")
    if "max_examples" in given:
        limit = min(limit or spec.options.max_examples, spec.options.max_examples)
    changes: dict[str, Any] = {"task": task}
    if "max_bytes" not in given:
        changes["max_bytes"] = sys.maxsize
    return Source(spec.path, spec.options.model_copy(update=changes), task, further, limit)


def _parquet(path: Path) -> Iterator[datasets.Record]:
    from lit_plugins.cli.writing import pyarrow

    arrow = pyarrow("parquet files")
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            row = 0
            for batch in file.iter_batches(batch_size=_ROWS):
                for fields in batch.to_pylist():
                    row += 1
                    yield datasets.Record(row, fields)
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; check the path.") from None
    except (OSError, arrow.ArrowException, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path}: cannot be read as parquet: {reason:.200}") from None


def chunks(items: Iterator[Item], size: int) -> Iterator[Sequence[Item]]:
    """Items so many at a time, the same ones together whoever begins where."""
    found: list[Item] = []
    for item in items:
        found.append(item)
        if len(found) == size:
            yield found
            found = []
    if found:
        yield found


def _plain(value: Any) -> Any:
    """A value as JSON has it; text for what is none."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return str(value)
