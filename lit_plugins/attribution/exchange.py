"""Explanations as JSON: version 1 of the format, which docs/explanation-json.md describes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lit_plugins.attribution.explanation import Explanation, Segment
from lit_plugins.attribution.options import Options
from lit_plugins.errors import DataError

VERSION = 1

# A number, or one a target with `each`.
_Numbers = float | list[float]


class _Segment(BaseModel):
    """Tokens that share one score: `[start, stop)`, and the text they make."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    start: int = Field(ge=0)
    stop: int
    text: str


class Record(BaseModel):
    """An Explanation as JSON."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    lit_plugins_explanation: Literal[1] = VERSION
    """Version of this format."""
    model: str = ""
    """Where the model is from."""
    task: str = ""
    """What it does: `text-classification`, `text-generation` and so on."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """The texts that were given, by field."""
    method: str
    """Name of the method."""
    options: dict[str, Any]
    """Its options; those that are not here have their general default."""
    targets: list[int]
    """Places of the tokens explained, or numbers of the labels."""
    names: list[str]
    """What each of them is called."""
    foil: str | None = None
    """What they are compared with."""
    value: _Numbers
    """The score explained, one a target where they are explained one by one."""
    baseline_value: _Numbers | None = None
    """The same at the baseline."""
    units: str
    """Of a score."""
    signed: bool
    """Whether a negative score speaks against the target."""
    tokens: list[str]
    """The input as the model sees it; ▁ is a space."""
    own: list[bool] = Field(default_factory=list)
    """For each token: whether it is the user's own text."""
    places: list[int] = Field(default_factory=list)
    """Places of the tokens explained, if it is tokens."""
    segments: list[_Segment]
    """What has a score."""
    scores: list[float] | list[list[float]]
    """One a segment; a row of them for each target where they are explained one by one."""
    convergence_error: float | None = None
    """|sum of scores - (value - baseline_value)| / |value - baseline_value|."""
    warnings: list[str] = Field(default_factory=list)
    """What to beware of."""
    forward: int = 0
    """Forward passes, of one text each."""
    backward: int = 0
    """Backward passes."""
    seconds: float = 0.0
    """Of wall-clock time; 0 if it was left out."""
    notes: dict[str, Any] = Field(default_factory=dict)
    """What the method itself found."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Of the packages that computed it."""
    record: dict[str, Any] | None = None
    """In lines of `lit-plugins explain`: which record of the file this is; else left out."""


def dump(explanation: Explanation) -> str:
    """One line of JSON."""
    return json.dumps(record(explanation), ensure_ascii=False, allow_nan=False)


def record(explanation: Explanation) -> dict[str, Any]:
    """The fields of the JSON, as plain values."""
    one = explanation
    return {
        "lit_plugins_explanation": VERSION,
        "model": one.model,
        "task": one.task,
        "inputs": _plain(one.inputs),
        "method": one.method,
        "options": one.options.model_dump(exclude_defaults=True),
        "targets": _plain(one.targets),
        "names": list(one.names),
        "foil": one.foil,
        "value": _plain(one.value),
        "baseline_value": _plain(one.baseline_value),
        "units": one.units,
        "signed": one.signed,
        "tokens": list(one.tokens),
        "own": _plain(one.own),
        "places": _plain(one.places),
        "segments": [{"start": s.start, "stop": s.stop, "text": s.text} for s in one.segments],
        "scores": _plain(one.scores),
        "convergence_error": _plain(one.convergence_error),
        "warnings": list(one.warnings),
        "forward": one.forward,
        "backward": one.backward,
        "seconds": one.seconds,
        "notes": _plain(one.notes),
        "versions": dict(one.versions),
    }


def load(source: str | bytes | Path) -> Explanation:
    """The explanation of one line of JSON, or of a file of it. Raises DataError."""
    where = "the JSON"
    if isinstance(source, Path) or (
        isinstance(source, str) and not source.lstrip().startswith(("{", "["))
    ):
        where = str(source)
        try:
            source = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise DataError(
                f"{where:.200}: cannot be read ({error}). Expected a file that to_json wrote, or "
                "its text."
            ) from None
    try:
        found = json.loads(source)
    except ValueError as error:
        raise DataError(f"{where:.200}: is no JSON ({error}).") from None
    return from_record(found, where)


def from_record(found: Any, where: str = "the JSON") -> Explanation:
    """The explanation of one JSON object. Raises DataError, which names the field."""
    version = found.get("lit_plugins_explanation") if isinstance(found, Mapping) else None
    if version is None:
        raise DataError(
            f"{where:.200}: is no explanation. Expected an object with lit_plugins_explanation: "
            f"{VERSION}, as to_json writes it."
        )
    if version != VERSION:
        raise DataError(
            f"{where:.200}: lit_plugins_explanation is {version!r:.20}, and this version reads "
            f"{VERSION}. Upgrade lit-plugins."
        )
    try:
        made = Record.model_validate(found)
        options = Options(**made.options)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        raise DataError(f"{where:.200}: {field}: {problem['msg']}.") from None
    _check(made, where)
    count = len(made.segments)
    scores = np.asarray(made.scores, np.float32)
    if options.each:
        scores = scores.reshape(len(made.targets), count)
    return Explanation(
        method=made.method,
        options=options,
        tokens=tuple(made.tokens),
        segments=tuple(Segment(s.start, s.stop, s.text) for s in made.segments),
        scores=scores,
        targets=tuple(made.targets),
        signed=made.signed,
        units=made.units,
        value=np.asarray(made.value, np.float64),
        names=tuple(made.names),
        baseline_value=(
            None if made.baseline_value is None else np.asarray(made.baseline_value, np.float64)
        ),
        foil=made.foil,
        convergence_error=made.convergence_error,
        warnings=tuple(made.warnings),
        forward=made.forward,
        backward=made.backward,
        seconds=made.seconds,
        notes=made.notes,
        own=tuple(made.own),
        places=tuple(made.places),
        inputs=made.inputs,
        model=made.model,
        task=made.task,
        versions=made.versions,
    )


def _check(made: Record, where: str) -> None:
    """Raise DataError where fields contradict each other."""
    tokens, segments = len(made.tokens), len(made.segments)

    def wrong(field: str, problem: str) -> DataError:
        return DataError(f"{where:.200}: {field}: {problem}.")

    for segment in made.segments:
        if not segment.start < segment.stop <= tokens:
            raise wrong("segments", f"[{segment.start}, {segment.stop}) of {tokens} tokens")
    if made.own and len(made.own) != tokens:
        raise wrong("own", f"{len(made.own)} for {tokens} tokens")
    if any(not 0 <= place < tokens for place in made.places):
        raise wrong("places", f"one is outside of {tokens} tokens")
    each = bool(made.options.get("each"))
    rows: list[Any] = list(made.scores) if each else [made.scores]
    if each and len(rows) != len(made.targets):
        raise wrong("scores", f"{len(rows)} rows for {len(made.targets)} targets")
    for row in rows:
        if not isinstance(row, list) or len(row) != segments:
            raise wrong("scores", f"expected {segments} numbers, one a segment")
        if any(isinstance(score, list) for score in row):
            raise wrong("scores", "rows of them are for options with each: true")


def _plain(value: Any) -> Any:
    """Lists, mappings and numbers as JSON has them; single precision as short as it may be."""
    if isinstance(value, np.ndarray):
        if value.dtype == np.float32:
            # The shortest number that is the same in single precision.
            return _shortest(value)
        return value.tolist()
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _shortest(values: np.ndarray) -> Any:
    return [_shortest(row) for row in values] if values.ndim else float(str(values[()]))
