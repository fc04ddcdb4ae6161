"""What the LIT models around one loaded model share, and what interpreters ask of them."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from lit_nlp.api import model as lit_model

from lit_plugins.attribution.explanation import Explanation

M = TypeVar("M", covariant=True)


class Loaded(Protocol[M]):
    """What gives us the model when it is needed: see `lit_plugins.components.loading.Loadable`."""

    def get(self) -> M:
        """The model; waits until it is loaded, and raises LitPluginsError if it cannot be."""
        ...


class Shared(Generic[M]):
    """A model, loaded on first use, and the one engine that remembers what it computed.

    Args:
        loaded: What gives us the model.
        engine: `module:class` in `lit_plugins.attribution`, which explains such models.

    """

    def __init__(self, loaded: Loaded[M], engine: str):
        self._loaded = loaded
        self._engine = engine
        self._explainer: Any = None
        self._lock = threading.Lock()

    def get(self) -> M:
        """The model; raises LitPluginsError if it cannot be loaded."""
        return self._loaded.get()

    def explainer(self) -> Any:
        """The model's engine: an Explainer or a TextExplainer."""
        model = self.get()
        with self._lock:
            if self._explainer is None:
                # Now, because it imports torch.
                module, _, name = self._engine.partition(":")
                found = importlib.import_module(f"lit_plugins.attribution.{module}")
                self._explainer = getattr(found, name)(model)
            return self._explainer


class Member(lit_model.Model, Generic[M]):
    """A LIT model around a loaded one, which others may share."""

    summary = ""

    def __init__(self, shared: Shared[M], description: str = ""):
        self.shared = shared
        self._description = description

    def engine(self) -> Any:
        """See Askable."""
        return self.shared.explainer()

    def description(self) -> str:
        """See lit_model.Model."""
        return f"{self.summary} {self._description}".strip()

    @classmethod
    def init_spec(cls) -> None:
        """Made by the loader that the server registers."""
        return

    @property
    def supports_concurrent_predictions(self) -> bool:
        """The loaded model has a lock of its own, held for one batch at a time."""
        return True

    def predict(self, inputs: Iterable[Mapping[str, Any]], **_: Any) -> list[dict[str, Any]]:
        """See lit_model.Model. Raises LitPluginsError, which the server tells the client."""
        examples = list(inputs)
        return self._predict(self.shared.get(), examples) if examples else []

    def _predict(self, model: Any, examples: list[Any]) -> list[dict[str, Any]]:
        """What the model says. Raises InputError."""
        raise NotImplementedError


def unwrapped(model: Any) -> Any:
    """The model itself, without LIT's cache around it."""
    while isinstance(model, lit_model.ModelWrapper):
        model = model.wrapped
    return model


@dataclass(frozen=True)
class Wanted:
    """What an interpreter asks for.

    Attributes:
        method: One of METHODS.
        options: Of the engine.
        label: Number of the label to explain, in the vocabulary of the model's MulticlassPreds;
            None for what the model predicts.
        part: Which part of what the model says is explained, in the words of its task.

    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: int | None = None
    part: str | None = None


@runtime_checkable
class Explainable(Protocol):
    """A LIT model that our interpreters can explain."""

    def explanations(
        self,
        examples: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]] | None,
        wanted: Wanted,
    ) -> list[Explanation]:
        """One explanation an example; `outputs` are the model's, where known.

        Raises LitPluginsError.
        """
        ...

    def special_tokens(self) -> frozenset[str]:
        """Tokens as explanations show them that are no text. The model is loaded by then."""
        ...

    def in_words(self, output: Mapping[str, Any]) -> str:
        """What the model says in an output, in a few words."""
        ...


class Answer(Protocol):
    """What a model says of an example, through LIT's cache: nothing is asked of it twice."""

    def get(self) -> Mapping[str, Any]:
        """The model's output. Raises LitPluginsError."""
        ...

    def known(self) -> Mapping[str, Any] | None:
        """The same if it was asked for before."""
        ...


@dataclass(frozen=True)
class Asked:
    """What our client asks about an example.

    Attributes:
        target: Of a language model: the text explained; None for what there is.
        spans: Of a language model: token places `[first, last)` in the text of prompt and target,
            each explained by itself; none for the whole target.
        label: What is explained of another model: see Choice.
        span: The same.
        options: Of the engine.

    """

    target: str | None = None
    spans: tuple[tuple[int, int], ...] = ()
    label: str | None = None
    span: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """A text that may be explained: the model's `response`, or the `target` of the data."""

    source: Literal["response", "target"]
    field: str
    text: str


@dataclass(frozen=True)
class Choice:
    """What may be explained of an answer that is no text: a label, a tagged word, an answer.

    Attributes:
        name: What people read.
        label: With `span`, what Asked wants for it.
        span: See `label`.
        value: How sure the model is, in words; empty where that is not known.
        chosen: Whether it is what the model says.

    """

    name: str
    label: str | None
    span: str | None
    value: str
    chosen: bool


@dataclass(frozen=True)
class Reading:
    """An example as the model reads it, and what may be explained.

    Attributes:
        question: Of the engine: about the text whose tokens are shown.
        sequences: Of a language model: what the target may be.
        target: The one that was read; None where there is none.
        target_start: Place of its first token.
        dropped: Tokens that did not fit.
        cut: Of a language model: the place where they were.
        choices: Of another model.

    """

    question: Any
    sequences: tuple[Said, ...] = ()
    target: str | None = None
    target_start: int | None = None
    dropped: int = 0
    cut: int | None = None
    choices: tuple[Choice, ...] = ()


@runtime_checkable
class Askable(Protocol):
    """A LIT model that our client's own modules can explain."""

    @property
    def task(self) -> str:
        """One of `lit_plugins.models.kinds.KINDS`."""
        ...

    @property
    def further_options(self) -> tuple[str, ...]:
        """Options that it takes beside those of a method."""
        ...

    def engine(self) -> Any:
        """What explains it; waits until the model is loaded. Raises LitPluginsError."""
        ...

    def reading(self, example: Mapping[str, Any], answer: Answer, asked: Asked) -> Reading:
        """The text and what may be explained. Raises LitPluginsError."""
        ...

    def questions(self, example: Mapping[str, Any], answer: Answer, asked: Asked) -> list[Any]:
        """What the engine is to answer. Raises LitPluginsError."""
        ...

    def sketches(self, example: Mapping[str, Any], answer: Answer, asked: Asked) -> list[Any]:
        """Questions that cost the same, made without asking the model. Raises LitPluginsError."""
        ...
