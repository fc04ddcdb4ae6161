"""Prompt datasets: files of prompts as LIT shows them.

A file is one of these, plain or with `.gz` behind it:

- `.jsonl`: one JSON object a line, with `prompt` and whatever else.
- `.csv`, `.tsv`: a header with a column `prompt`. Separator: comma, tab. Lines end in a newline;
  text with commas or newlines stands in double quotes.
- `.txt`: one prompt a line, taken as it stands.

Blank lines are skipped in all of them. `prompt` is text and may be empty; `target` (what the model
should have answered) and `source` (where the prompt is from) are optional text. Any further column
is kept, and its type is found from all its values (`_column_type`).

Files are read line by line: no line, and no gzip bomb, can use more memory than the limits allow.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pydantic
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import types as lit_types

from lit_plugins import resources
from lit_plugins.attribution.methods import METHODS
from lit_plugins.errors import DataError, SpecError

if TYPE_CHECKING:
    from lit_nlp.app import DatasetLoadersMap

EXTENSIONS = (".jsonl", ".txt", ".csv", ".tsv")

# Names that mean something else to LIT: the salience model's own input, and outputs of the models.
RESERVED = frozenset({"target_mask", "tokens", "response", "salience_method", *METHODS})
# LIT's client puts field names into tooltips as Markdown, unescaped: these could smuggle in HTML.
_UNSAFE_IN_NAMES = re.compile(r"[<>&`\[\]\x00-\x1f\x7f\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")

_MAX_COLUMNS = 64
_MAX_NAME = 100
_MAX_CATEGORIES = 20
_MAX_CATEGORY_LENGTH = 50
_EXACT_IN_JAVASCRIPT = 2**53
_PROBLEMS_SHOWN = 5
_PROBLEMS_KEPT = 100
_LOADER_MAX_EXAMPLES = 10_000

Example = dict[str, Any]


class DatasetOptions(pydantic.BaseModel):
    """How a file is read.

    Attributes:
      max_examples: reading stops after so many good records; the description then says so.
      max_bytes: most bytes to read, counted after decompression.
      max_line: most characters in one line.
      encoding: of the text; with `utf-8` a byte order mark is allowed.
      columns: new names of columns, `{"question": "prompt"}`; as text `columns=question:prompt`,
        several times for several columns.
      skip_bad: load the good records and report the bad ones, instead of failing.

    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    max_examples: int = pydantic.Field(default=1000, ge=1)
    max_bytes: int = pydantic.Field(default=64 * 2**20, ge=1)
    max_line: int = pydantic.Field(default=2**20, ge=1)
    encoding: str = "utf-8"
    columns: dict[str, str] = pydantic.Field(default_factory=dict)
    skip_bad: bool = False

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

    def load(self) -> PromptDataset:
        """Read the file; raises DataError as `load` does."""
        return _load(self.path, str(self.path), self.name, self.options)


class PromptDataset(lit_dataset.Dataset):
    """Prompts read from a file.

    Attributes:
      name: the dataset's name in LIT.
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
        bad: int = 0,
        problems: Sequence[str] = (),
        truncated: bool = False,
    ):
        super().__init__(
            spec=spec, examples=cast("list[lit_types.JsonDict]", examples), description=description
        )
        self.name = name
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
    columns: Mapping[str, str] | None = None,
    skip_bad: bool = False,
) -> PromptDataset:
    """Read a file of prompts; see the module's text for formats, `DatasetOptions` for arguments.

    Returns:
      A dataset whose spec is `prompt: TextSegment`, `target: TextSegment` if some record has one,
      `source: CategoryLabel` if some record has one, then the further columns.

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
            "columns": dict(columns or {}),
            "skip_bad": skip_bad,
        },
        "load()",
    )
    return _load(Path(path), str(path), name or _name_from(Path(path)), options)


def from_records(records: Iterable[Mapping[str, Any]], name: str) -> PromptDataset:
    """Make a dataset of records in memory, by the same rules as a line of a `.jsonl` file.

    Raises:
      DataError: a record is bad, or there is none. It names the record, from 0, and the field.

    """
    found = _Collected()
    for number, record in enumerate(records):
        try:
            for key, value in record.items():
                if not isinstance(key, str):
                    raise _BadRecord(f"{_show(key)}: is no name of a field, expected text")
                try:
                    json.dumps(value, allow_nan=False)
                except (TypeError, ValueError, RecursionError):
                    raise _BadRecord(
                        f"{_show(key)}: {_show(value)} is no JSON value; write it as text"
                    ) from None
            fields = {key: _flatten(value) for key, value in record.items()}
            found.good.append(_check(fields, DatasetOptions(), found))
        except _BadRecord as error:
            raise DataError(f"{name}: record {number}: {error}") from None
    if not found.good:
        raise DataError(f"{name}: holds no prompts.")
    spec = _settle_columns(found, from_text=False)
    return PromptDataset(name, spec, found.good, _describe(name, spec, found))


def samples() -> dict[str, Path]:
    """Return the packaged sample sets by name."""
    return {path.stem: path for path in sorted(resources.folder("datasets").glob("*.jsonl"))}


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
    """Return the loader that LIT's Configure dialog offers for adding a file of prompts.

    Its `path` is the name of a packaged sample set, or a file inside one of `folders`: relative to
    one of them, or absolute. Links are followed before this is checked. A path outside is refused
    with the same words as a missing file, so that a client cannot find out what exists.
    """
    allowed = [Path(folder).resolve() for folder in folders]

    def prompts(
        path: str = "",
        max_examples: int = 100,
        skip_bad: bool = False,
    ) -> PromptDataset:
        if not isinstance(path, str) or not path.strip():
            raise DataError(
                f"path is {_show(path)}; expected a file or one of {_names(samples())}."
            )
        if not _is_integer(max_examples) or not 1 <= max_examples <= _LOADER_MAX_EXAMPLES:
            raise DataError(
                f"max_examples is {_show(max_examples)}; expected a whole number from 1 to "
                f"{_LOADER_MAX_EXAMPLES}."
            )
        if not isinstance(skip_bad, bool):
            raise DataError(f"skip_bad is {_show(skip_bad)}; expected true or false.")
        shown = path.strip()
        found = samples().get(shown) or _find_inside(shown, allowed)
        if found is None:
            raise DataError(
                f"There is no dataset file {_show(shown)} in the allowed folders: "
                f"{_names(folder.name for folder in allowed)}. Put the file there, or choose a "
                f"sample set: {_names(samples())}."
            )
        options = DatasetOptions(max_examples=int(max_examples), skip_bad=skip_bad)
        return _load(found, shown, _name_from(found), options)

    spec: lit_types.Spec = {
        "path": lit_types.String(default=next(iter(samples()), "")),
        "max_examples": lit_types.Integer(
            default=100, min_val=1, max_val=_LOADER_MAX_EXAMPLES, required=False
        ),
        "skip_bad": lit_types.Boolean(default=False, required=False),
    }
    return {"prompts": (prompts, spec)}


# --- Options and names ---


def _options(values: Mapping[str, Any], where: str) -> DatasetOptions:
    try:
        return DatasetOptions(**values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        valid = list(DatasetOptions.model_fields)
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, valid, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            problem = f"Unknown option {key!r}.{hint}"
        else:
            problem = f"Option {key}={_show(first['input'])}: {first['msg']}."
        raise SpecError(f"Dataset {where!r}: {problem} Options: {', '.join(valid)}.") from None


def _parse_query(query: str, text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for piece in filter(None, re.split("[,&]", query)):
        key, equals, value = piece.partition("=")
        if not equals:
            raise SpecError(f"Dataset {text!r}: option {piece!r} has no value; expected key=value.")
        if key == "columns":
            old, colon, new = value.rpartition(":")
            if not (colon and old and new):
                raise SpecError(f"Dataset {text!r}: {piece!r} should be columns=OLD:NEW.")
            values.setdefault("columns", {})[old] = new
        elif key in values:
            raise SpecError(f"Dataset {text!r}: option {key!r} is given twice.")
        else:
            values[key] = value
    return values


def _format_of(path: Path) -> str | None:
    """Return the extension that says the format, `.gz` left out, or None."""
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    return suffix if suffix in EXTENSIONS else None


def _may_be_dataset(text: str) -> bool:
    return text in samples() or _format_of(Path(text.partition("?")[0])) is not None


def _name_from(path: Path) -> str:
    stem = re.sub(r"\.gz$", "", path.name, flags=re.IGNORECASE)
    stem = re.sub(r"\.[^.]+$", "", stem)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).lstrip("_.-") or "prompts"


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


class _BadRecord(Exception):
    """One record is bad; the text is `field: problem` or `problem`."""


@dataclass
class _Record:
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

    good: list[Example] = field(default_factory=list)
    bad: int = 0
    problems: list[str] = field(default_factory=list)
    columns: dict[str, None] = field(default_factory=dict)  # a set in order of appearance
    renamed: set[str] = field(default_factory=set)
    truncated: bool = False


def _load(path: Path, shown: str, name: str, options: DatasetOptions) -> PromptDataset:
    """Read `path`; errors call it `shown`, which may be less than the whole path."""
    kind = _format_of(path)
    if kind is None:
        raise DataError(
            f"{shown}: unknown kind of file {path.suffix!r}; expected one of "
            f"{', '.join(EXTENSIONS)}, or one of these with .gz behind it."
        )
    short = path.name
    found = _Collected()

    def on_bad(line: int, problem: str) -> None:
        found.bad += 1
        if len(found.problems) < _PROBLEMS_KEPT:
            found.problems.append(f"{short}:{line}: {problem}")

    try:
        # Opening a named pipe would wait for ever; folders and missing files fail by themselves.
        if path.exists() and not path.is_file() and not path.is_dir():
            raise _FileProblem("is not a regular file; expected a file of prompts")
        with path.open("rb") as file:
            # A plain file that is called .gz is an error, not a guess.
            raw = gzip.open(file) if path.name.lower().endswith(".gz") else file  # noqa: SIM115
            _collect(cast("io.BufferedIOBase", raw), kind, options, found, on_bad)
    except _FileProblem as error:
        problem = str(error)
    except FileNotFoundError:
        problem = "does not exist; check the path"
    except IsADirectoryError:
        problem = "is a folder; expected a file of prompts"
    except gzip.BadGzipFile:
        problem = "is not a gzip file, or a damaged one; drop .gz from its name, or copy it again"
    except (EOFError, zlib.error):
        problem = "is a gzip file that is cut off or damaged; copy it again"
    except UnicodeError:
        problem = f"is not {_encoding_name(options)}; name its encoding (encoding=utf-8)"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
    else:
        problem = None

    if problem is not None:
        context = _count_text(found) if found.good or found.bad else ""
        raise DataError(f"{shown}: {problem}.{context}")
    if found.bad and not options.skip_bad:
        hint = " Mend them, or load the good ones alone with skip_bad=true." if found.good else ""
        raise DataError(f"{shown}:{_count_text(found)}{hint}")
    if not found.good:
        raise DataError(f"{shown}: holds no prompts.{_count_text(found) if found.bad else ''}")
    if unused := [old for old in options.columns if old not in found.renamed]:
        raise DataError(
            f"{shown}: no record has a column {unused[0]!r} to rename; "
            f"columns: {', '.join(found.columns)}."
        )
    spec = _settle_columns(found, from_text=kind in (".csv", ".tsv"))
    return PromptDataset(
        name,
        spec,
        found.good,
        _describe(short, spec, found),
        bad=found.bad,
        problems=found.problems,
        truncated=found.truncated,
    )


def _collect(
    raw: io.BufferedIOBase,
    kind: str,
    options: DatasetOptions,
    found: _Collected,
    on_bad: Callable[[int, str], None],
) -> None:
    """Read records from `raw` into `found` until the end or `max_examples`."""
    buffered = io.BufferedReader(_Metered(raw, options.max_bytes))
    if options.encoding == "utf-8-sig" and buffered.peek(2)[:2] in (
        codecs.BOM_UTF16_LE,
        codecs.BOM_UTF16_BE,
    ):
        raise _FileProblem("is UTF-16, expected UTF-8; convert it, or pass encoding=utf-16")
    # UTF-16 and the like know no surrogateescape: there a bad byte ends the reading.
    stream = io.TextIOWrapper(
        buffered, encoding=options.encoding, errors="surrogateescape", newline="\n"
    )
    lines = _Lines(stream, options, on_bad)
    if kind == ".jsonl":
        records = _json_records(lines)
    elif kind == ".txt":
        records = (_Record(lines.number, {"prompt": x}) for x in lines if x.strip())
    else:
        records = _csv_records(lines, "\t" if kind == ".tsv" else ",", options)
    for record in records:
        if len(found.good) == options.max_examples:
            found.truncated = True
            return
        try:
            if record.problem is not None:
                raise _BadRecord(record.problem)
            example = _check(record.fields, options, found)
        except _BadRecord as error:
            on_bad(record.line, str(error))
        else:
            found.good.append(example)


def _json_records(lines: _Lines) -> Iterator[_Record]:
    def reject_duplicates(pairs: list[tuple[str, Any]]) -> Example:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise _BadRecord(f"{_show(twice)}: stands there twice; keep one")
        return fields

    def reject_constant(literal: str) -> NoReturn:
        raise _BadRecord(f"{literal} is no JSON number; write null, or leave the field out")

    def parse_float(literal: str) -> float:
        if not math.isfinite(number := float(literal)):
            raise _BadRecord(f"number {_show(literal)} is out of range; write it as text")
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
            if isinstance(fields, dict):
                fields = {key: _flatten(value) for key, value in fields.items()}
            else:
                problem = f'is {_show(fields)}, expected an object such as {{"prompt": "text"}}'
        except json.JSONDecodeError as error:
            problem = f"is no JSON: {error.msg} at column {error.colno}; mend or remove the line"
        except RecursionError:
            problem = "is nested too deeply; keep such data as text"
        except _BadRecord as error:
            problem = str(error)
        except ValueError:  # Python refuses to convert integers of thousands of digits
            problem = "holds a number of thousands of digits; write it as text"
        yield _Record(lines.number, fields if problem is None else {}, problem)


def _flatten(value: Any) -> Any:
    """Return objects and mixed lists as compact JSON; plain values and lists of text unchanged."""
    if isinstance(value, dict) or (
        isinstance(value, list) and not all(isinstance(item, str) for item in value)
    ):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value


def _csv_records(lines: _Lines, delimiter: str, options: DatasetOptions) -> Iterator[_Record]:
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
            f"line {lines.number}: the column {_show(twice[0])} stands there twice; rename one"
        )
    if "prompt" not in renamed:
        raise _FileProblem(
            f"line {lines.number}: no column 'prompt' in the header; it has {_names(header)}. "
            "Rename one (columns=OLD:prompt)"
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
            yield _Record(start, {}, f"is no CSV: {error}; {hint}")
            continue
        if row is None:
            return
        if not row:
            continue
        if len(row) != len(header):
            problem = (
                f"has {len(row)} fields, expected {len(header)} ({_names(header)}); quote text "
                f"that holds {delimiter!r} or a newline"
            )
            yield _Record(start, {}, problem)
        else:
            yield _Record(start, dict(zip(header, row, strict=True)))


def _check(record: Example, options: DatasetOptions, found: _Collected) -> Example:
    """Return the record with its columns renamed and without nulls, or raise _BadRecord."""
    renamed = [(options.columns.get(key, key), value) for key, value in record.items()]
    example = dict(renamed)
    if len(example) < len(renamed):
        new = next(new for new in options.columns.values() if new in example)
        raise _BadRecord(f"{new}: stands there twice once the columns are renamed; keep one")
    if "prompt" not in example:
        has = f"the record has {_names(record)}: rename one (columns=OLD:prompt)"
        raise _BadRecord(f"prompt: is missing; {has if record else 'the record is empty'}")
    for key, value in example.items():
        _check_name(key)
        _check_value(key, value)
    new_columns = [key for key in example if key not in found.columns]
    if len(found.columns) + len(new_columns) > _MAX_COLUMNS:
        raise _BadRecord(
            f"{_show(new_columns[-1])}: is one column too many; at most {_MAX_COLUMNS} in a file"
        )
    found.columns.update(dict.fromkeys(new_columns))
    found.renamed.update(key for key in options.columns if key in record)
    return {key: value for key, value in example.items() if value is not None}


def _check_name(name: str) -> None:
    if name.startswith("_") or name in RESERVED:
        raise _BadRecord(f"{_show(name)}: LIT uses this name itself; rename it (columns=OLD:NEW)")
    if not name.strip() or len(name) > _MAX_NAME or _UNSAFE_IN_NAMES.search(name):
        raise _BadRecord(
            f"{_show(name)}: cannot be a column's name; expected 1 to {_MAX_NAME} characters "
            "without < > & ` [ ] and control characters"
        )


def _check_value(name: str, value: Any) -> None:
    optional = value is None and name != "prompt"
    if name in ("prompt", "target", "source") and not isinstance(value, str) and not optional:
        raise _BadRecord(f"{name}: is {_show(value)}, expected text in quotes")
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and "\0" in text:
            raise _BadRecord(f"{name}: holds a NUL character; remove it")
        if isinstance(text, str) and not is_encodable(text):
            raise _BadRecord(f"{name}: holds half a surrogate pair (\\ud800 to \\udfff); remove it")


# --- Types of columns ---


def _settle_columns(found: _Collected, *, from_text: bool) -> lit_types.Spec:
    """Return the spec, and make every example hold every field in its type."""
    spec: lit_types.Spec = {}
    first = [name for name in ("prompt", "target", "source") if name in found.columns]
    for name in [*first, *(name for name in found.columns if name not in first)]:
        values = [example.get(name) for example in found.good]
        if name in ("target", "source") and not any(values):
            continue  # no record has one
        if name == "prompt" or name == "target":
            spec[name], settled = lit_types.TextSegment(), _as_text(values)
        elif name == "source":
            spec[name], settled = lit_types.CategoryLabel(), _as_text(values)
        else:
            spec[name], settled = _column_type(_parse_cells(values) if from_text else values)
        for example, value in zip(found.good, settled, strict=True):
            example[name] = value
    # In the spec's order, without columns that turned out to hold nothing.
    found.good[:] = [{name: example[name] for name in spec} for example in found.good]
    return spec


def _column_type(values: list[Any]) -> tuple[lit_types.LitType, list[Any]]:
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
    texts = _as_text(values)
    different = set(texts)
    if (
        present
        and len(different) <= _MAX_CATEGORIES
        and 2 * len(different) <= len(texts)
        and all(len(text) <= _MAX_CATEGORY_LENGTH for text in different)
    ):
        return lit_types.CategoryLabel(), texts
    return lit_types.TextSegment(), texts


def _as_text(values: Iterable[Any]) -> list[str]:
    return [
        ""
        if value is None
        else value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for value in values
    ]


def _parse_cells(cells: list[Any]) -> list[Any]:
    """Return a CSV column as booleans or numbers if every cell reads as one in JSON."""
    if all(cell in ("true", "false") for cell in cells):
        return [cell == "true" for cell in cells]
    # A leading zero is no JSON number, so that postcodes and the like stay text.
    if all(len(cell) <= 40 and _JSON_NUMBER.fullmatch(cell) for cell in cells):
        numbers = [json.loads(cell) for cell in cells]
        if all(_is_number(number) for number in numbers):
            return numbers
    return cells


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1


def _is_number(value: Any) -> bool:
    """Whether the value is a finite number that JavaScript holds exactly enough to show."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= _EXACT_IN_JAVASCRIPT if isinstance(value, int) else math.isfinite(value)


def is_encodable(text: str) -> bool:
    """Whether the text holds no half of a surrogate pair, which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- Words ---


def _show(value: Any) -> str:
    """Return the value as it goes into an error: on one line, and short."""
    text = ascii(value[:40]) if isinstance(value, str) else ascii(value)
    return f"{text[:40]}…" if len(text) > 42 else text


def _names(names: Iterable[Any]) -> str:
    shown = [_show(str(name)).strip("'") for name in names]
    return ", ".join(shown[:8]) + (", …" if len(shown) > 8 else "") if shown else "(none)"


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
    lines = [f"{count} prompt{'' if count == 1 else 's'} from {_plain(short)}."]
    if found.truncated:
        lines[0] = f"The first {lines[0]} The rest was not read: max_examples is {count}."
    if found.bad:
        lines[0] += f" Left out: {found.bad} bad record{'' if found.bad == 1 else 's'}."
        lines += ["", *(f"- {_plain(problem)}" for problem in found.problems[:_PROBLEMS_SHOWN])]
        lines += ["- …"] if found.bad > _PROBLEMS_SHOWN else []
    fields = ", ".join(f"{_plain(key)} ({type(value).__name__})" for key, value in spec.items())
    return "\n".join([*lines, "", f"Fields: {fields}."])


def _plain(text: str) -> str:
    """Return Markdown that shows `text` as it is.

    LIT's client renders descriptions as Markdown with HTML in it, and file names and field names
    are not ours.
    """
    return "".join(
        char if char.isalnum() or char in " .,:;-_/" else f"&#{ord(char)};" for char in text
    )
