"""What our client asks of models: the meaning of the routes below `lit_plugins/`.

The guard checks who asks, and that models, datasets and examples are there; see `Guard._explain`.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

import numpy as np
from lit_nlp import app as lit_app
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lit_plugins.attribution import exchange, methods
from lit_plugins.attribution.methods import METHODS, Method
from lit_plugins.attribution.options import (
    BY_MODEL,
    COMMON,
    OF_MODELS,
    SEGMENTS,
    SHOWN,
    Options,
    resolve,
)
from lit_plugins.attribution.watch import Watch
from lit_plugins.components.shared import Askable, Asked, unwrapped
from lit_plugins.datasets import is_encodable
from lit_plugins.display import colours
from lit_plugins.display.view import card
from lit_plugins.errors import InputError
from lit_plugins.server.jobs import Jobs
from lit_plugins.toml_file import did_you_mean

ROUTES = re.compile(
    r"/lit_plugins/(?P<name>about|texts|explanations|costs|jobs(?=/))"
    r"(?:(?<=jobs)/(?P<job>[^/]+)(?P<cancel>/cancel)?)?"
)
MOST_SPANS = 1000
MOST_NUMBERS = 4_000_000  # of one answer: see _size
COUNTING = 10.0  # seconds that it may take to say what something costs
PATIENCE = 0.1  # seconds after which who waits looks whether it is still wanted

# Options for which the client has controls of its own.
_ELSEWHERE = frozenset(("segment", "pattern"))


class _Choice(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    label: str | None = None
    span: str | None = None


class Body(BaseModel):
    """What a request says: see the routes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    dataset: str
    example: Any
    target: str | None = None
    choice: _Choice | None = None
    spans: list[Annotated[list[int], Field(min_length=2, max_length=2)]] | None = Field(
        None, min_length=1, max_length=MOST_SPANS
    )
    method: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    pattern: str | None = Field(None, max_length=1000)


_WHERE_OF = {
    "texts": ("model", "dataset", "example", "target", "choice", "pattern"),
    "explanations": (
        "model", "dataset", "example", "target", "choice", "spans", "method", "options",
    ),
    "costs": ("model", "dataset", "example", "target", "choice", "spans", "method", "options"),
}  # fmt: skip


def read(name: str, data: Mapping[str, Any]) -> Body:
    """The body of a request. Raises InputError, which names the field."""
    known = _WHERE_OF[name]
    if strange := [key for key in data if key not in known]:
        raise InputError(f"{name} takes no {strange[0]!r:.60}. Available: {', '.join(known)}.")
    try:
        body = Body.model_validate(dict(data))
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        raise InputError(f"{field:.60}: {problem['msg']}.") from None
    choice = body.choice or _Choice()
    texts = {"target": body.target, "choice.label": choice.label, "choice.span": choice.span}
    for field, text in (texts | {"pattern": body.pattern} | body.options).items():
        if isinstance(text, str) and not is_encodable(text):
            raise InputError(f"{field!r:.60} holds half a surrogate pair.")
    if strange := [key for key in body.options if key not in Options.model_fields]:
        hint = did_you_mean(strange[0], Options.model_fields)
        raise InputError(f"Unknown option {strange[0]!r:.60}.{hint} Available: {', '.join(SHOWN)}.")
    if name == "explanations":
        if body.method is None:
            raise InputError(f"method is missing. Available: {', '.join(METHODS)}.")
        # What is wrong with them for any model is said at once.
        row = methods.find(body.method)
        resolve(row.name, {**row.defaults, **dict.fromkeys(OF_MODELS)}, body.options)
    return body


class Explanations:
    """Answers for the guard.

    Args:
        app: LIT's app, whose models may come and go.

    """

    def __init__(self, app: lit_app.LitApp) -> None:
        self._app = app
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self.jobs = Jobs(size=_size)

    def models(self) -> dict[str, Askable]:
        """The models that can be explained, by name."""
        found: dict[str, Askable] = {}
        for name, model in list(self._app._models.items()):
            own = unwrapped(model)
            if isinstance(own, Askable) and not name.startswith("_"):
                found[name] = own
        return found

    def about(self) -> dict[str, Any]:
        """What there is: methods, options, colours, models. Loads nothing."""
        rows = list(METHODS.values())
        return {
            "methods": [_method(row) for row in rows],
            "options": {name: _option(name, rows) for name in SHOWN if name not in _ELSEWHERE},
            "units": list(SEGMENTS),
            "colours": _colours(),
            "models": {
                name: {"task": model.task, "options": list(model.further_options)}
                for name, model in self.models().items()
            },
        }

    def texts(self, body: Body, example: Mapping[str, Any]) -> dict[str, Any]:
        """Begin to read an example: see `_texts` for the result. Raises Busy."""

        def work(watch: Watch) -> dict[str, Any]:
            model = self._loaded(body, watch)
            return _texts(model, example, self._answer(body, example, watch), body)

        return self.jobs.start(work)

    def explanations(self, body: Body, example: Mapping[str, Any]) -> dict[str, Any]:
        """Begin to explain: one explanation a span, as `exchange` writes them. Raises Busy."""

        def work(watch: Watch) -> list[dict[str, Any]]:
            model = self._loaded(body, watch)
            engine = model.engine()
            engine.check(body.method, **body.options)
            questions = model.questions(example, self._answer(body, example, watch), _asked(body))
            watch.check()
            _check_size(len(questions), len(engine.show(questions[0], Options()).tokens))
            return [
                exchange.record(one) | {"card": card(one)}
                for one in engine.answer(questions, body.method, body.options, watch)
            ]

        return self.jobs.start(work)

    def costs(self, body: Body, example: Mapping[str, Any]) -> dict[str, Any]:
        """Passes and, if known, seconds of each method, or of the one that is asked for.

        Runs no model. Raises LitPluginsError.
        """
        model, watch = self.models()[body.model], Watch()
        engine = model.engine()
        questions = model.sketches(example, self._answer(body, example, watch), _asked(body))
        found = {}
        for row in METHODS.values() if body.method is None else [methods.find(body.method)]:
            takes = COMMON | row.defaults.keys() | set(model.further_options)
            options = {key: value for key, value in body.options.items() if key in takes}
            costs = []
            for question in questions:
                costs.append(engine.cost(question, row.name, options))
                if watch.seconds > COUNTING:
                    raise InputError(
                        f"It takes longer than {COUNTING:g} s to count the passes of so many "
                        "spans, or of such a pattern. Ask for fewer, or for one method."
                    )
            seconds = [time for _, time in costs if time is not None]
            found[row.name] = {
                "forward": int(sum(passes.forward for passes, _ in costs)),
                "backward": int(sum(passes.backward for passes, _ in costs)),
                "seconds": sum(seconds) if len(seconds) == len(costs) else None,
            }
        return found

    def _loaded(self, body: Body, watch: Watch) -> Askable:
        """The model, once it is loaded. Raises LitPluginsError."""
        model = self.models()[body.model]
        with _alone(self._lock("load", body), watch):
            model.engine()
        return model

    def _answer(self, body: Body, example: Mapping[str, Any], watch: Watch) -> _Answer:
        """What the model says, one example at a time: it would not say two any sooner."""
        model = self._app._models[body.model]
        return _Answer(model, body.dataset, example, self._lock("answer", body), watch)

    def _lock(self, what: str, body: Body) -> threading.Lock:
        return self._locks.setdefault((what, body.model), threading.Lock())


@contextlib.contextmanager
def _alone(lock: threading.Lock, watch: Watch) -> Iterator[None]:
    """Hold a lock that others may hold for minutes. Raises Cancelled, also while waiting."""
    while not lock.acquire(timeout=PATIENCE):
        watch.check()
    try:
        watch.check()
        yield
    finally:
        lock.release()


class _Answer:
    """What a model says, as LIT's page asks it: see `lit_plugins.components.shared.Answer`."""

    def __init__(
        self,
        model: Any,
        dataset: str,
        example: Mapping[str, Any],
        lock: threading.Lock,
        watch: Watch,
    ):
        self._model = model
        self._dataset = dataset
        self._example = example
        self._lock = lock
        self._watch = watch

    def get(self) -> Mapping[str, Any]:
        if (known := self.known()) is not None:
            return known
        with _alone(self._lock, self._watch):
            [made] = self._model.predict([self._example], dataset_name=self._dataset)
        return made

    def known(self) -> Mapping[str, Any] | None:
        cache = getattr(self._model, "_cache", None)
        return None if cache is None else cache.get(self._model.key_fn(self._example))


def _size(result: Any) -> int:
    """How much memory a result takes, in numbers, about: a token is as much as nine of them."""
    made = result if isinstance(result, list) else []
    return sum(9 * len(one["tokens"]) + np.size(one["scores"]) for one in made)


def _check_size(texts: int, tokens: int) -> None:
    if texts * tokens * 10 > MOST_NUMBERS:
        raise InputError(
            f"{texts:,} maps of a text of {tokens:,} tokens are too much for one answer. Ask for "
            "fewer spans, or larger ones, or for each token of one span by itself (each)."
        )


def _asked(body: Body) -> Asked:
    choice = body.choice or _Choice()
    return Asked(
        target=body.target or None,
        spans=tuple((first, last) for first, last in body.spans or ()),
        label=choice.label,
        span=choice.span,
        options=body.options,
    )


def _texts(
    model: Askable, example: Mapping[str, Any], answer: _Answer, body: Body
) -> dict[str, Any]:
    """An example as the model reads it: its tokens, its parts, and what may be explained."""
    engine = model.engine()
    reading = model.reading(example, answer, _asked(body))
    shown = engine.show(reading.question, Options())
    units = {unit: Options(segment=unit) for unit in SEGMENTS if unit != "regex"}
    if body.pattern:
        units["regex"] = Options(segment="regex", pattern=body.pattern)
    return {
        "sequences": [
            {"source": one.source, "field": one.field, "text": one.text}
            for one in reading.sequences
        ],
        "target": reading.target,
        "tokens": list(shown.tokens),
        "pieces": list(shown.pieces),
        "own": [bool(one) for one in shown.own],
        "target_start": reading.target_start,
        "dropped": reading.dropped,
        "cut": reading.cut,
        "segments": {
            unit: [[one.start, one.stop] for one in engine.segments(reading.question, options)]
            for unit, options in units.items()
        },
        "choices": [
            {
                "name": one.name,
                "label": one.label,
                "span": one.span,
                "value": one.value,
                "chosen": one.chosen,
            }
            for one in reading.choices
        ],
    }


# What there is.


def _takes(row: Method, name: str) -> bool:
    return name in row.defaults or name in COMMON


def _method(row: Method) -> dict[str, Any]:
    return {
        "name": row.name,
        "title": row.title,
        "family": row.family,
        "signed": row.signed,
        "additive": row.additive,
        "linear": row.linear,
        "cheap": row.cheap,
        "by_position": row.by_position,
        "units": row.units,
        "description": row.description,
        "cost": row.passes,
        "options": [name for name in SHOWN if _takes(row, name) and name not in _ELSEWHERE],
        "segment": row.defaults.get("segment") or "token",
    }


def _option(name: str, rows: list[Method]) -> dict[str, Any]:
    """What a control for an option is, and where it begins."""
    field = Options.model_fields[name]
    kinds = _kinds(field.annotation)
    choices = [one for one in kinds if isinstance(one, str)]
    if name == "steps":
        kind = "steps"
    elif choices:
        kind = "choice"
    elif bool in kinds:
        kind = "flag"
    elif int in kinds or float in kinds:
        kind = "number"
    else:
        kind = "text"
    by_model = name in BY_MODEL
    defaults = {
        row.name: None if by_model else row.defaults.get(name, field.default)
        for row in rows
        if _takes(row, name)
    }
    return {
        "kind": kind,
        "choices": choices if kind == "choice" else None,
        "whole": kind == "number" and float not in kinds,
        "by_model": by_model,
        "default_by_method": defaults,
        "help": " ".join((field.description or "").split()),
    }


def _kinds(annotation: Any) -> list[Any]:
    """The types of an annotation, and the values of a Literal in it."""
    if not get_args(annotation):
        return [annotation]
    return [kind for one in get_args(annotation) for kind in _kinds(one)]


def _colours() -> dict[str, Any]:
    theme = colours.LIGHT
    shades = {
        direction: [
            colours.shade(theme, direction, level / colours.LEVELS)
            for level in range(colours.LEVELS + 1)
        ]
        for direction in theme.strongest
    }
    return {"levels": colours.LEVELS, "page": theme.page, "ink": theme.ink, **shades}
