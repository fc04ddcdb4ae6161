"""What results become: lines of JSON, a parquet file, a page."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lit_plugins.errors import LitPluginsError, SpecError

FORMATS = (".jsonl", ".parquet", ".html")
PAGE = 200  # explanations on one page: more would take a browser minutes
_ROWS = 1000  # of a group of a parquet file

Line = Mapping[str, Any]


def line(about: Mapping[str, Any], result: Mapping[str, Any]) -> bytes:
    """A line of results: of which record, and what was found."""
    made = {"record": dict(about), **result}
    return json.dumps(made, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """What lies in a file of lines."""
    with path.open("rb") as file:
        yield from map(json.loads, file)


def converter(out: Path, title: str) -> Callable[[Path, Path], None] | None:
    """What makes the file asked for of lines; None if it is lines.

    Raises:
        SpecError: The suffix is none of FORMATS.
        LitPluginsError: What the format needs is not installed.

    """
    match out.suffix.lower():
        case ".jsonl":
            return None
        case ".parquet":
            pyarrow("parquet files")
            return to_parquet
        case ".html":
            return lambda path, made: _to_page(path, made, title)
    raise SpecError(f"{out}: unknown kind of file {out.suffix!r}. Expected {', '.join(FORMATS)}.")


def check_count(out: Path, count: int) -> None:
    """Raise SpecError if a page of so many explanations were too long."""
    if out.suffix.lower() == ".html" and count > PAGE:
        raise SpecError(
            f"{out} would hold {count:,} explanations, and a page holds {PAGE} at most. Write "
            f"{out.stem}.jsonl and make a report of it (lit-plugins report {out.stem}.jsonl), or "
            f"give --limit={PAGE}."
        )


def pyarrow(what: str) -> Any:
    """The package. Raises LitPluginsError if it is not there."""
    try:
        import pyarrow as found
    except ImportError as error:
        raise LitPluginsError(
            f"{what.capitalize()} need pyarrow ({error}): pip install 'lit-plugins[report]'"
        ) from None
    return found


# --- Parquet


def to_parquet(path: Path, out: Path) -> None:
    """Write lines as a table: a column a field, in the order in which fields appear.

    Numbers, text, and lists of one of them are kept; all else is JSON as text.
    """
    arrow = pyarrow("parquet files")
    from pyarrow import parquet

    kinds: dict[str, str] = {}
    for one in lines(path):
        for name, value in _columns(one).items():
            kinds[name] = _join(kinds.get(name, "null"), _kind(value))
    types = {
        "null": arrow.null(),
        "bool": arrow.bool_(),
        "int": arrow.int64(),
        "float": arrow.float64(),
        "text": arrow.string(),
        "empty": arrow.list_(arrow.string()),
        "texts": arrow.list_(arrow.string()),
        "floats": arrow.list_(arrow.float64()),
        "json": arrow.string(),
    }
    schema = arrow.schema([(name, types[kind]) for name, kind in kinds.items()])
    with parquet.ParquetWriter(out, schema) as writer:
        rows: list[dict[str, Any]] = []
        for one in lines(path):
            found = _columns(one)
            rows.append({name: _cell(found.get(name), kind) for name, kind in kinds.items()})
            if len(rows) == _ROWS:
                writer.write_table(arrow.Table.from_pylist(rows, schema))
                rows = []
        if rows:
            writer.write_table(arrow.Table.from_pylist(rows, schema))


def _columns(one: Line) -> dict[str, Any]:
    """The cells of a line: of what is said of the record each by itself, and first."""
    about = dict(one["record"])
    found = {"record": about.pop("number"), **about}
    found |= {name: value for name, value in one.items() if name != "record"}
    if "segments" in one:
        found["parts"] = [segment["text"] for segment in one["segments"]]
    return found


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() if abs(value) < 2**63:
            return "int"
        case float():
            return "float"
        case str():
            return "text"
        case list() if all(isinstance(item, str) for item in value):
            return "texts" if value else "empty"
        case list() if all(type(item) in (int, float) for item in value):
            return "floats"
    return "json"


def _join(one: str, other: str) -> str:
    """The kind of a column that holds both kinds."""
    kinds = {one, other} - {"null"}
    if len(kinds) < 2:
        return next(iter(kinds), "null")
    if kinds == {"int", "float"}:
        return "float"
    if "empty" in kinds and kinds & {"texts", "floats"}:
        return next(iter(kinds - {"empty"}))
    return "json"


def _cell(value: Any, kind: str) -> Any:
    if kind == "json" and value is not None:
        return json.dumps(value, ensure_ascii=False)
    return value


# --- Pages


def _to_page(path: Path, out: Path, title: str) -> None:
    from lit_plugins.attribution import exchange
    from lit_plugins.display import html

    page = html.page(map(exchange.from_record, lines(path)), title=title)
    out.write_text(page, encoding="utf-8")


@contextlib.contextmanager
def replacing(out: Path, force: bool) -> Iterator[Path]:
    """Yields where to write what becomes `out` in the end, or vanishes after an error.

    Raises SpecError if `out` exists and `force` is off, DataError if it cannot be written.
    """
    from lit_plugins.cli import journal

    journal.check_place(out)
    if out.exists() and not force:
        raise SpecError(f"{out} exists already. Name another file, or replace it with --force.")
    made = Path(f"{out}.tmp")
    try:
        yield made
        made.replace(out)
    except OSError as error:
        raise journal.unwritable(out, error) from error
    finally:
        with contextlib.suppress(OSError):
            made.unlink(missing_ok=True)


# --- Standard output


def to_stdout(data: bytes) -> None:
    """Write lines at once. Raises BrokenPipeError once nobody reads them."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
