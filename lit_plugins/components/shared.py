"""What the LIT models around one loaded model share, and what interpreters ask of them."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

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
