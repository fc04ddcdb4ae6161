r"""Model specs: one line of text that says which weights, in which framework, and how to run them.

    NAME=FRAMEWORK:SOURCE
    NAME=FRAMEWORK:SOURCE?option=value&option=value

NAME is what LIT shows: letters, digits, `_`, `.` and `-`, a letter or digit first.
FRAMEWORK is `hf` (Hugging Face transformers on torch) or `keras` (keras-hub).
SOURCE is one of

- `packaged:NAME`, a row of `packaged.PACKAGED`,
- a `.gguf` file,
- a folder (`/…`, `./…`, `../…`, `~…`, or any that exists),
- for hf a hub id, `org/name` or `name`,
- for keras a preset: `gemma3_instruct_270m`, `kaggle://…`, `hf://…`, `modelscope://…`.

Options are the fields of `ModelOptions`, divided by `&` or `,`. They begin at the last `?`
that `word=` follows, so a path may hold one. In values `%XX` is decoded: write `%2C` for a
comma, `%26` for `&`, `%3F` for `?` and `%25` for `%`. In `stop` and `system`, `\n`, `\t`
and `\\` are a newline, a tab and a backslash. `stop`, `candidate_labels` and `ignored_labels` may
be repeated.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lit_plugins import gguf, packaged, packaged_folders
from lit_plugins.errors import SourceError, SpecError
from lit_plugins.toml_file import did_you_mean

FRAMEWORKS = ("hf", "keras")

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
Aggregation = Literal["first", "max", "average"]
Kind = Literal["packaged", "gguf", "folder", "hub", "preset"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", re.ASCII)
_OPTIONS_START = re.compile(r"\?(?=[A-Za-z_]+=)")
_KERAS_SCHEMES = ("kaggle://", "hf://", "modelscope://")
# What people write instead of a framework's name.
_FRAMEWORK_ALIASES = {
    **dict.fromkeys(("huggingface", "transformers", "torch", "pytorch"), "hf"),
    **dict.fromkeys(
        ("tensorflow", "tf", "kerashub", "keras_hub", "keras-hub", "kerasnlp"), "keras"
    ),
}


# Options that may be repeated.
_LISTS = ("stop", "candidate_labels", "ignored_labels")


class ModelOptions(BaseModel):
    """How a model is loaded and run. Each field can be given in a spec, a config file or Python."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Of the weights. None: float32 on a CPU, the checkpoint's own on an accelerator."""
    device: str | None = Field(default=None, pattern=r"^(cpu|mps|cuda(:\d+)?)$")
    """hf only: `cpu`, `cuda`, `cuda:1`, `mps`. None: the best there is."""
    revision: str | None = Field(default=None, min_length=1)
    """hf hub ids only: branch, tag or commit."""
    trust_remote_code: bool = False
    """hf only: run Python code that comes with the weights."""
    chat: bool | str = "auto"
    """Chat template: `auto` if the model has one, `on`, `off`, or the path of a `.jinja` file."""
    system: str | None = None
    """System prompt, where a chat template is used."""
    max_length: int | None = Field(default=None, ge=8)
    """Tokens of prompt and answer together. None: the model's context, 2048 at most."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Tokens of an answer."""
    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy: always the likeliest token."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample among the likeliest tokens that hold this share of the probability."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of sampling."""
    batch_size: int = Field(default=8, ge=1)
    """Examples computed at a time."""
    tokens_per_pass: int | None = Field(default=None, ge=1)
    """Tokens that an explanation puts through the model together, at most (but one text). None:
    1024 on a CPU, where more is hardly faster, 16384 elsewhere."""
    max_explanation_seconds: float = Field(default=600, gt=0)
    """Explanations that are expected to take longer are refused."""
    embeddings: bool = True
    """Whether mean embeddings of the texts are returned, for LIT's projector."""
    attention: bool = False
    """Whether predictions hold attention heads, for use from Python. Not for language models. The
    page shows attention without it."""
    gradients: bool = False
    """Classifiers only: whether gradients at the tokens are returned, for LIT's HotFlip. Costs a
    backward pass a prediction."""
    task: str | None = None
    """hf only: what the model does. None: what its config says."""
    problem_type: ProblemType | None = None
    """Classifiers only: what their labels mean. None: what the config says."""
    candidate_labels: tuple[str, ...] = ()
    """zero-shot only: the labels of examples that bring none."""
    hypothesis_template: str = "This text is about {}."
    """zero-shot only: the sentence that a label is put into."""
    no_answer: bool = True
    """question-answering only: whether there may be no answer."""
    aggregation: Aggregation = "first"
    """token-classification only: which of a word's pieces gives its tag."""
    ignored_labels: tuple[str, ...] = ("O",)
    """token-classification only: tags that make no entity."""

    @field_validator("task")
    @classmethod
    def _task(cls, value: str | None) -> str | None:
        from lit_plugins.models.kinds import KINDS  # which needs this module

        if value is not None and value not in KINDS:
            raise ValueError(f"is no task.{did_you_mean(value, KINDS)} Tasks: {', '.join(KINDS)}")
        return value

    @field_validator("chat", mode="before")
    @classmethod
    def _chat(cls, value: Any) -> bool | str:
        if isinstance(value, bool):
            return value
        text = str(value)
        if text.lower() in ("on", "true", "yes", "1"):
            return True
        if text.lower() in ("off", "false", "no", "0"):
            return False
        if text == "auto" or text.endswith((".jinja", ".jinja2")):
            return text
        raise ValueError("it must be auto, on, off or the path of a .jinja file")

    @field_validator(*_LISTS, mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("hypothesis_template")
    @classmethod
    def _one_place(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError("it must hold {} once, where the label goes")
        return value

    @field_validator("stop")
    @classmethod
    def _stop_not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "" in value:
            raise ValueError("an empty text would end every answer at once; leave it out")
        return value


@dataclass(frozen=True)
class ModelSpec:
    """A parsed spec. Build it with `parse_model` or `model_from_mapping`, which check it."""

    name: str
    framework: str
    source: str
    options: ModelOptions = field(default_factory=ModelOptions)

    @property
    def kind(self) -> Kind:
        """What `source` is. Looks at the disk: a folder that exists wins over a hub id."""
        return _kind(self.framework, self.source)

    @property
    def text(self) -> str:
        """The spec as text that `parse_model` reads back to an equal spec."""
        given = self.options.model_dump(exclude_defaults=True)
        pairs: list[tuple[str, str]] = []
        for key, value in given.items():
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, bool):
                    item = "on" if item else "off"
                text = str(item)
                if key in ("stop", "system"):
                    text = text.replace("\\", "\\\\")
                pairs.append((key, quote(text, safe=":/~ ")))
        if not pairs and _OPTIONS_START.search(self.source):
            pairs.append(("seed", "0"))  # so that the `?` of the source is not the last one
        options = "&".join(f"{key}={value}" for key, value in pairs)
        return f"{self.name}={self.framework}:{self.source}" + (f"?{options}" if options else "")


@dataclass(frozen=True)
class Location:
    """Where a loader finds a model.

    `folder` is a local folder in Hugging Face format or, for keras, one of keras-hub's;
    `hub` a Hugging Face hub id; `preset` what keras-hub's `from_preset` takes.
    """

    kind: Literal["folder", "hub", "preset"]
    path: str


# ------------------------------------------------------------------- parsing


def parse_model(text: str, *, name: str | None = None) -> ModelSpec:
    """Parse one spec; see the module's docstring.

    Args:
        text: the spec. It may lack `NAME=` if `name` is given.
        name: the model's name, for callers that have it from elsewhere.

    Raises:
        SpecError: with the value, what was expected and what to write.

    """
    text = text.strip()
    own, rest = _split_name(text)
    if own and name and own != name:
        raise SpecError(
            f"Model '{text}' has a name already, so it cannot be '{name}' too. Drop one."
        )
    name = own or name
    if not name:
        proposal = re.sub(r"[^A-Za-z0-9.-]+", "_", Path(text.partition("?")[0]).stem).strip("_.-")
        raise SpecError(
            f"Model '{text}' has no name. Write NAME=FRAMEWORK:SOURCE, "
            f"e.g. {proposal.rpartition('_')[2] or 'mine'}={text or 'hf:gpt2'}"
        )
    framework, source, options = _split_rest(name, rest)
    return _build(name, framework, source, options)


def parse_unnamed(text: str, name: str | None = None) -> ModelSpec:
    """Parse one spec that may lack a name: its source's end is its name then. Raises SpecError."""
    own, rest = _split_name(text.strip())
    plain = rest.partition("?")[0].replace(":", "/").rstrip("/").rpartition("/")[2]
    end = re.sub(r"[^A-Za-z0-9.-]+", "_", plain).strip("_.-")
    return parse_model(rest, name=name or own or end or "model")


def model_from_mapping(name: str, table: Mapping[str, Any]) -> ModelSpec:
    """Make a spec from a config file's table: `source = "hf:…"` and options as further keys.

    Raises:
        SpecError: as `parse_model`; also if an option is given in `source` and as a key.

    """
    if not isinstance(table, Mapping):
        raise SpecError(f"Model '{name}' must be a table with a key 'source'. Got {table!r}.")
    source = table.get("source")
    if not isinstance(source, str) or not source.strip():
        raise SpecError(
            f"Model '{name}' needs source = \"FRAMEWORK:SOURCE\", "
            f'e.g. "hf:packaged:smollm2-135m-instruct". Got {source!r}.'
        )
    framework, path, options = _split_rest(name, source.strip())
    given = {key: value for key, value in table.items() if key != "source"}
    twice = sorted(options.keys() & given.keys())
    if twice:
        raise SpecError(
            f"Model '{name}': option '{twice[0]}' is given in 'source' and as a key. Drop one."
        )
    return _build(name, framework, path, {**options, **given})


def split_models(text: str) -> list[str]:
    """Split a flag's `a=hf:x?dtype=float32,device=cuda:0,b=keras:y` into specs.

    A comma divides specs where `NAME=word:` follows, but not where NAME is an option's
    name and the spec before the comma has options already.
    """
    pieces: list[str] = []
    for part in text.split(","):
        match = re.match(r"\s*([^=:?&/]+)=[^:?&]*:", part)
        in_options = bool(pieces) and bool(_OPTIONS_START.search(pieces[-1]))
        is_option = bool(match) and in_options and match[1].strip() in ModelOptions.model_fields
        if not pieces or (match and not is_option):
            pieces.append(part)
        else:
            pieces[-1] += "," + part
    return [piece.strip().strip(",") for piece in pieces if piece.strip(" ,")]


def _split_name(text: str) -> tuple[str | None, str]:
    head, equals, rest = text.partition("=")
    # In 'hf:x?dtype=float32' the first '=' belongs to an option: no name.
    if not equals or re.search(r"[:?/]", head):
        return None, text
    return head.strip(), rest.strip()


def _split_rest(name: str, text: str) -> tuple[str, str, dict[str, Any]]:
    """`FRAMEWORK:SOURCE?options` -> framework, source, options as given."""
    starts = list(_OPTIONS_START.finditer(text))
    options = _split_options(name, text[starts[-1].end() :]) if starts else {}
    body = text[: starts[-1].start()] if starts else text
    framework, colon, source = body.partition(":")
    if not colon:
        known = " or ".join(f"{name}={known}:{body}" for known in FRAMEWORKS)
        raise SpecError(f"Model '{name}={text}' names no framework. Write {known}")
    if framework not in FRAMEWORKS:
        if framework == "packaged":
            raise SpecError(
                f"Model '{name}={text}' names no framework. "
                f"Write {name}=hf:{body} or {name}=keras:{body}"
            )
        hint = _FRAMEWORK_ALIASES.get(framework.lower()) or _close(framework.lower(), FRAMEWORKS)
        hint = f" Did you mean '{hint}'?" if hint else ""
        raise SpecError(
            f"Unknown framework '{framework}' in '{name}={text}'.{hint} "
            f"Available: {', '.join(FRAMEWORKS)}."
        )
    return framework, source, options


def _split_options(name: str, text: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in re.split("[&,]", text):
        key, equals, value = pair.partition("=")
        if not equals:
            raise SpecError(
                f"Model '{name}': option '{pair}' has no value. Write option=value; "
                "a comma or & within a value is written %2C or %26."
            )
        key, value = key.strip(), unquote(value)
        if key in ("stop", "system"):
            value = re.sub(
                r"\\([nt\\])", lambda match: {"n": "\n", "t": "\t", "\\": "\\"}[match[1]], value
            )
        if key in _LISTS:
            options[key] = (*options.get(key, ()), value)
        elif key in options:
            raise SpecError(f"Model '{name}': option '{key}' is given twice. Drop one.")
        else:
            options[key] = value
    return options


def _build(name: str, framework: str, source: str, given: Mapping[str, Any]) -> ModelSpec:
    if not _NAME.fullmatch(name):
        raise SpecError(
            f"Model name '{name}' must begin with a letter or digit and hold only letters, "
            "digits, '_', '.' and '-'. Rename it."
        )
    source = _check_source(name, framework, source.strip())
    options = model_options(given, f"Model '{name}'")
    kind = _kind(framework, source)
    if framework == "keras":
        for key, reason in (
            ("device", "the Keras backend chooses the device; set CUDA_VISIBLE_DEVICES instead"),
            ("revision", "a version is part of a kaggle:// handle: kaggle://…/1"),
            ("trust_remote_code", "keras-hub never runs code of a preset"),
        ):
            if key in given:
                raise SpecError(
                    f"Model '{name}': option '{key}' is for hf models only: {reason}. Drop it."
                )
    elif options.revision is not None and kind != "hub":
        raise SpecError(
            f"Model '{name}': option 'revision' is for hub ids only, and '{source}' is not one. "
            "Drop it."
        )
    return ModelSpec(name, framework, source, options)


def model_options(given: Mapping[str, Any], where: str = "Options") -> ModelOptions:
    """Check options by name; `where` begins the message of the SpecError that bad ones raise."""
    try:
        return ModelOptions(**{str(key): value for key, value in given.items()})
    except ValidationError as error:
        problem = error.errors()[0]
        key = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            close = _close(key, ModelOptions.model_fields)
            hint = f" Did you mean '{close}'?" if close else ""
            raise SpecError(
                f"{where}: unknown option '{key}'.{hint} "
                f"Available: {', '.join(ModelOptions.model_fields)}."
            ) from None
        message = problem["msg"].removeprefix("Value error, ")
        if key == "device":
            message = "it must be cpu, cuda, cuda:N or mps"
        raise SpecError(f"{where}: option '{key}' is {given[key]!r}: {message}.") from None


def _check_source(name: str, framework: str, source: str) -> str:
    """Return the source in its canonical form; raise for what can be no source at all."""
    spec = f"{name}={framework}:{source}"
    if not source:
        raise SpecError(
            f"Model '{spec}' has no source. Name a hub id, preset, folder, .gguf file or "
            f"packaged:NAME, e.g. {spec}packaged:gemma3-270m"
        )
    if not source.isprintable():
        raise SpecError(f"Model {spec!r} has unprintable characters in its source. Remove them.")
    if source.startswith("packaged:"):
        packaged.find(source.removeprefix("packaged:"))
        return source
    if framework == "hf" and source.startswith("hf://"):
        source = source.removeprefix("hf://")
    kind = _kind(framework, source)
    if kind == "hub" and not _is_hub_id(source):
        if source.startswith(_KERAS_SCHEMES):
            raise SpecError(
                f"'{source}' in '{spec}' is a Keras preset. Write {name}=keras:{source}"
            )
        raise SpecError(
            f"'{source}' in '{spec}' is no hub id (org/name) and no folder that exists. "
            "A folder begins with /, ./, ../ or ~; in a list every model needs its own NAME=."
        )
    if kind == "preset":
        scheme, mark, handle = source.rpartition("://")
        if scheme + mark not in ("", *_KERAS_SCHEMES) or not handle or handle != handle.strip("/"):
            raise SpecError(
                f"'{source}' in '{spec}' is no Keras preset. Expected a preset's name or "
                f"{', '.join(scheme + '…' for scheme in _KERAS_SCHEMES)}"
            )
        if not mark and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", source, re.ASCII):
            remedy = f"{name}=keras:hf://{source} or " if _is_hub_id(source) else ""
            raise SpecError(
                f"'{source}' in '{spec}' is no Keras preset and no folder that exists. "
                f"Write {remedy}{name}=keras:./{source}"
            )
    return source


def _is_hub_id(text: str) -> bool:
    # Hugging Face's own rules, as far as they can be told from the text.
    plain = _HUB_ID.fullmatch(text) and not re.search(r"--|\.\.", text)
    return bool(plain) and len(text) <= 96 and not text.endswith((".git", "-", "."))


def _kind(framework: str, source: str) -> Kind:
    if source.startswith("packaged:"):
        return "packaged"
    if "://" in source:
        return "hub" if framework == "hf" else "preset"
    if source.lower().endswith(".gguf"):
        return "gguf"
    if source.startswith(("/", "./", "../", "~")) or source in (".", "..") or _is_folder(source):
        return "folder"
    return "hub" if framework == "hf" else "preset"


def _is_folder(source: str) -> bool:
    try:
        return Path(source).is_dir()
    except OSError:  # a name too long for the file system
        return False


def _close(word: str, known: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(word, known, n=1)), None)


# ------------------------------------------------------------------ locating


def locate(spec: ModelSpec) -> Location:
    """Find the weights: check a folder, fetch a packaged model, convert a GGUF file.

    Hub ids and presets are only passed on; the framework downloads them. Packaged models
    and GGUF files end as folders in Hugging Face format, the same one for both frameworks.
    A packaged model is stored in float32 whatever `dtype` says, so that one copy serves all.

    Raises:
        SourceError: nothing there, incomplete, corrupt, or the fetching failed.

    """
    check(spec)
    if spec.kind == "packaged":
        model = packaged.find(spec.source.removeprefix("packaged:"))
        return Location("folder", str(packaged_folders.to_folder(model)))
    if spec.kind == "gguf":
        path = _expand(spec, spec.source)
        return Location("folder", str(gguf.to_folder(path, spec.options.dtype or "float32")))
    if spec.kind == "folder":
        return Location("folder", str(_expand(spec, spec.source)))
    if spec.kind == "hub":
        return Location("hub", spec.source)
    return Location("preset", spec.source)


def check(spec: ModelSpec) -> None:
    """Look at the local files that a spec names; quick, nothing is fetched or loaded.

    Raises:
        SourceError: nothing there, incomplete or corrupt, as far as the first look tells.

    """
    chat = spec.options.chat
    if isinstance(chat, str) and chat != "auto" and not _expand(spec, chat).is_file():
        raise SourceError(
            f"Model '{spec.name}': chat template '{_expand(spec, chat)}' does not exist. "
            "Check the path."
        )
    if spec.kind == "folder":
        _check_folder(spec)
    elif spec.kind == "gguf":
        gguf.check(_expand(spec, spec.source))


def _expand(spec: ModelSpec, text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # ~nobody
        raise SourceError(
            f"Model '{spec.name}': '{text}' names no known user's home. Write the path in full."
        ) from error


# What a folder must hold: what it is called in errors, and patterns of which one must match.
_HF_PARTS = (
    ("config.json", ("config.json",)),
    ("weights (*.safetensors or pytorch_model*.bin)", ("*.safetensors", "pytorch_model*.bin")),
    (
        "a tokenizer (tokenizer.json, tokenizer.model, …)",
        ("tokenizer.json", "tokenizer.model", "spiece.model", "*vocab*", "tokenizer_config.json"),
    ),
)
_KERAS_PARTS = (
    ("config.json", ("config.json",)),
    ("weights (model*.weights.h5)", ("model.weights.h5", "model_*.weights.h5")),
    ("tokenizer.json", ("tokenizer.json",)),
)


def _check_folder(spec: ModelSpec) -> None:
    folder = _expand(spec, spec.source)
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise SourceError(
            f"Model '{spec.name}': '{folder}' {problem}. Check the path; a relative one starts "
            f"at '{Path.cwd()}'."
        )
    is_keras = any(folder.glob("*.weights.h5"))
    if is_keras and spec.framework == "hf":
        raise SourceError(
            f"Model '{spec.name}': '{folder}' is a Keras preset. "
            f"Write {spec.name}=keras:{spec.source}"
        )
    missing = [
        label
        for label, patterns in (_KERAS_PARTS if is_keras else _HF_PARTS)
        if not any(any(folder.glob(pattern)) for pattern in patterns)
    ]
    if missing:
        files = sorted(path.name for path in folder.glob("*.gguf"))
        remedy = (
            f"Name the GGUF file itself: {spec.source.rstrip('/')}/{files[0]}"
            if files
            else "Name the folder that save_pretrained or a complete download wrote."
        )
        raise SourceError(
            f"Model '{spec.name}': '{folder}' is no complete model: no {', no '.join(missing)}. "
            + remedy
        )
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(
            f"Model '{spec.name}': '{folder / 'config.json'}' is no JSON file ({error}). "
            "Copy the folder again."
        ) from error
