"""The config file, `lit.toml`: everything that the command line can say, in one file.

    [server]                        # any of launch.py's flags, LIT's own among them
    port = 5432
    layouts_dir = ["layouts"]

    [models]
    smollm2 = "hf:packaged:smollm2-135m-instruct"
    gemma = { source = "keras:gemma2_instruct_2b_en", dtype = "bfloat16" }

    [datasets]
    menus = "menus.jsonl"
    maths = { path = "maths.csv", max_examples = 50, columns = { question = "prompt" } }

Relative paths start at the file's own folder. A flag on the command line wins.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import pydantic
from absl import flags

from lit_plugins import datasets, sources
from lit_plugins.errors import ConfigError, SpecError
from lit_plugins.toml_file import did_you_mean, read_toml

# Flags that a file cannot give: [models] and [datasets] are tables of their own.
_NOT_IN_FILE = frozenset({"models", "datasets", "config", "check", "flagfile", "undefok"})
_OPTIONS_START = re.compile(r"\?(?=[A-Za-z_]+=)")
_PATHS = frozenset({"layouts_dir", "data_folders", "data_dir", "client_root"})


class _Dataset(datasets.DatasetOptions):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")
    path: str


def _long_form(key: str) -> Callable[[Any], Any]:
    """NAME = "text" stands for a table that holds nothing but the source or path."""
    return lambda value: {key: value} if isinstance(value, str) else value


# What a model's table may hold, `sources` checks.
_Model = Annotated[dict[str, Any], pydantic.BeforeValidator(_long_form("source"))]


class _File(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    server: dict[str, Any] = {}
    models: dict[str, _Model] = {}
    datasets: dict[str, Annotated[_Dataset, pydantic.BeforeValidator(_long_form("path"))]] = {}


@dataclasses.dataclass(frozen=True)
class Config:
    """A config file's content: flag values by name, models and datasets in the file's order."""

    server: dict[str, Any]
    models: tuple[sources.ModelSpec, ...]
    datasets: tuple[datasets.DatasetSpec, ...]


def read(path: Path, known: Mapping[str, flags.Flag]) -> Config:
    """Read a config file; `known` are the flags that [server] may set.

    Raises:
        ConfigError: It cannot be read, or something in it is invalid. The error names the file
            and the key (`models.gemma.dtype`), the value, and what is expected.

    """
    content = read_toml(path)
    try:
        file = _File(**content)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from None
    folder = path.resolve().parent
    known = {name: flag for name, flag in known.items() if name not in _NOT_IN_FILE}
    try:
        return Config(
            {name: _value(name, value, known, folder) for name, value in file.server.items()},
            tuple(_model(name, table, folder) for name, table in file.models.items()),
            tuple(_dataset(name, table, folder) for name, table in file.datasets.items()),
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _value(name: str, value: Any, known: Mapping[str, flags.Flag], folder: Path) -> Any:
    """Return a flag's value as its parser gives it, paths as absolute ones."""
    if name in ("models", "datasets"):
        raise ConfigError(f"server.{name}: write a table [{name}] instead.")
    if name not in known:
        raise ConfigError(f"server.{name}: unknown key.{did_you_mean(name, known)}")
    flag = known[name]
    parser: Any = flag.parser
    if isinstance(flag, flags.MultiFlag) or isinstance(parser, flags.ListParser):
        texts = [value] if isinstance(value, str) else value
        if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
            raise ConfigError(f"server.{name}: {_show(value)} is not a list of texts.")
        return [str(folder / text) for text in texts] if name in _PATHS else texts
    if flag.boolean:
        types, expected = (bool,), "true or false"
    elif isinstance(parser, flags.IntegerParser):
        types, expected = (int,), "a whole number"
    elif isinstance(parser, flags.FloatParser):
        types, expected = (int, float), "a number"
    else:
        types, expected = (str,), "text in quotes"
    if type(value) not in types:  # not isinstance: true is no number
        raise ConfigError(f"server.{name}: {_show(value)} is not {expected}.")
    if name in _PATHS and value:
        return str(folder / value)
    try:
        return parser.parse(value)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"server.{name}: {_show(value)}: {error}.") from None


def _model(name: str, table: Mapping[str, Any], folder: Path) -> sources.ModelSpec:
    table = dict(table)
    source = table.get("source")
    if isinstance(source, str):
        framework, colon, rest = source.partition(":")
        place = _OPTIONS_START.split(rest, maxsplit=1)[0]
        is_path = place.startswith((".", "~")) or place.lower().endswith(".gguf")
        if "://" not in place and (is_path or (place and (folder / place).exists())):
            path = folder / Path(place).expanduser()
            table["source"] = f"{framework}{colon}{path}{rest[len(place) :]}"
    chat = table.get("chat")
    if isinstance(chat, str) and Path(chat).suffix in (".jinja", ".jinja2"):
        table["chat"] = str(folder / Path(chat).expanduser())
    try:
        return sources.model_from_mapping(name, table)
    except SpecError as error:
        raise ConfigError(f"models.{name}: {error}") from None


def _dataset(name: str, table: _Dataset, folder: Path) -> datasets.DatasetSpec:
    try:
        spec = datasets.parse_dataset(f"{name}={table.path}")
    except SpecError as error:
        raise ConfigError(f"datasets.{name}: {error}") from None
    options = spec.options.model_dump(exclude_unset=True)
    options |= table.model_dump(exclude_unset=True, exclude={"path"})
    path = spec.path
    if path not in datasets.samples().values():
        path = folder / path.expanduser()
    return dataclasses.replace(spec, path=path, options=datasets.DatasetOptions(**options))


def _explain(error: pydantic.ValidationError) -> str:
    """Return the first error: its key, the problem, what is valid."""
    first = error.errors()[0]
    keys = [str(part) for part in first["loc"]]
    where = ".".join(keys)
    if first["type"] in ("extra_forbidden", "missing"):
        model: type[pydantic.BaseModel] = _File
        if len(keys) > 1:
            model = _Dataset
        valid = list(model.model_fields)
        if first["type"] == "missing":
            return f"{where}: is missing."
        hint = did_you_mean(keys[-1], valid)
        return f"{where}: unknown key.{hint} Keys: {', '.join(valid)}."
    return f"{where}: {first['msg']}, got {_show(first['input'])}."


def _show(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
