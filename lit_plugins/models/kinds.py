"""KINDS: one row a task. What a checkpoint's config says it does, and what serves that.

Nothing here imports a framework: the server knows what a model's predictions look like before its
weights are fetched.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lit_plugins import packaged
from lit_plugins.errors import SourceError, SpecError
from lit_plugins.sources import ModelOptions, ModelSpec, locate

Head = Literal["one_of", "any_of", "yes_or_no", "number"]

_HEADS: dict[str, Head] = {
    "single_label_classification": "one_of",
    "multi_label_classification": "any_of",
    "regression": "number",
}
_CONFIG_SECONDS = 5.0  # that a hub may take to answer what a model is

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """What serves a task.

    Attributes:
        task: As in the option `task`.
        heads: How the names of its model classes end, in checkpoints' configs.
        what: Such a model, in words.
        auto: The class of `transformers` that loads it; None where `open` does all.
        model: A class, or `module:class` in `lit_plugins.models`, made of a loaded model and its
            tokenizer.
        component: A function, or `module:function` in `lit_plugins.components`, `(name, loaded,
            profile, description)` -> LIT models by name.
        arguments: Further ones of `model`.
        open: A function, or `module:function` in `lit_plugins.components`, from a ModelSpec to the
            loaded model, for what no class of `transformers` loads.
        base: Name of a class that all such models are of, if that is not `model`.
        sample: An example of what it reads.
        layout: The layout of the page that shows it best.

    """

    task: str
    heads: tuple[str, ...]
    what: str
    auto: str | None
    model: str | Callable[..., Any]
    component: str | Callable[..., Any]
    sample: Mapping[str, Any]
    layout: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    open: str | Callable[..., Any] | None = None
    base: str = ""

    def make(self, model: Any, tokenizer: Any, options: ModelOptions, description: str) -> Any:
        """Our model of a loaded `transformers` model and its tokenizer."""
        made = _find("models", self.model)
        return made(model, tokenizer, options, description, **self.arguments)

    def is_of(self, model: Any) -> bool:
        """Whether one of our loaded models is of this kind."""
        fields = self.arguments.get("fields")
        names = {one.__name__ for one in type(model).__mro__}
        wanted = self.model if isinstance(self.model, str) else self.model.__name__
        own = (self.base or wanted.rpartition(":")[2]) in names
        return own and (fields is None or fields == model.fields)

    def lit_models(self, name: str, loaded: Any, profile: Profile, description: str) -> dict:
        """The LIT models of a model that `loaded.get()` gives, by name."""
        made = _find("components", self.component)
        return made(name, loaded, profile, description)


_CLASSIFIER = ("ForSequenceClassification",)
_CLASSIFIERS = "AutoModelForSequenceClassification"

KINDS: dict[str, Kind] = {
    kind.task: kind
    for kind in (
        Kind(
            "text-generation",
            heads=("ForCausalLM", "LMHeadModel"),
            what="causal language model",
            auto=None,
            open="language_models:open_model",
            model="hf_text:HFCausalLM",
            base="LanguageModel",
            component="language_models:lit_models",
            layout="prompt_left_right",
            sample={"prompt": "The capital of France is"},
        ),
        Kind(
            "text-classification",
            what="text classifier",
            model="hf_sequence:HFSequenceClassifier",
            heads=_CLASSIFIER,
            auto=_CLASSIFIERS,
            component="classifiers:sequence_models",
            arguments={"fields": ("text",)},
            layout="classification",
            sample={"text": "A slow start, but what an ending!"},
        ),
        Kind(
            "pair-classification",
            what="classifier of pairs of texts",
            model="hf_sequence:HFSequenceClassifier",
            heads=_CLASSIFIER,
            auto=_CLASSIFIERS,
            component="classifiers:sequence_models",
            arguments={"fields": ("text_a", "text_b")},
            layout="pairs_and_answers",
            sample={"text_a": "Where is Paris?", "text_b": "Paris is the capital of France."},
        ),
        Kind(
            "zero-shot",
            what="model of natural language inference",
            model="hf_zero_shot:HFZeroShotClassifier",
            heads=_CLASSIFIER,
            auto=_CLASSIFIERS,
            component="classifiers:zero_shot_models",
            layout="classification",
            sample={"text": "The match ended in a draw.", "candidate_labels": ["sport", "music"]},
        ),
        Kind(
            "token-classification",
            heads=("ForTokenClassification",),
            what="tagger",
            auto="AutoModelForTokenClassification",
            model="hf_tokens:HFTokenClassifier",
            component="taggers:token_models",
            layout="tagging",
            sample={"text": "My name is Anna Miller and I live in Berlin."},
        ),
        Kind(
            "question-answering",
            heads=("ForQuestionAnswering",),
            what="extractive question answerer",
            auto="AutoModelForQuestionAnswering",
            model="hf_answers:HFQuestionAnswerer",
            component="answerers:answer_models",
            layout="pairs_and_answers",
            sample={"question": "Where does Ada live?", "context": "Ada lives in Oslo."},
        ),
    )
}


@dataclass(frozen=True)
class Profile:
    """What is known of a model before it is loaded.

    Attributes:
        task: One of KINDS.
        labels: Of a classifier or tagger, in the head's order; with `zero-shot` the labels of
            texts that bring none. Empty where the config could not be had.
        head: What a classifier's labels mean.
        layers: How many there are; None if the config does not say.
        options: As given.

    """

    task: str
    labels: tuple[str, ...] = ()
    head: Head = "one_of"
    layers: int | None = None
    options: ModelOptions = field(default_factory=ModelOptions)

    @property
    def kind(self) -> Kind:
        """What serves it."""
        return KINDS[self.task]

    def check(self, model: Any, name: str) -> None:
        """Raises SourceError if a loaded model is not what its config promised."""
        found = getattr(model, "labels", ())
        if self.task not in ("text-generation", "zero-shot", "question-answering") and (
            tuple(found) != self.labels or getattr(model, "head", self.head) != self.head
        ):
            raise SourceError(
                f"Model '{name}': its labels are {', '.join(found)[:200]}. This was not known when "
                "the server started, because its config could not be read. Start again."
            )


def profile_of(spec: ModelSpec) -> Profile:
    """What the model of a specification does, from its config alone.

    Of a hub's model only config.json is fetched; where that fails, it is taken for what the option
    `task` says, or for a language model, and loading it says what is wrong.

    Raises:
        SpecError: The task asked for is not what the checkpoint was made for.
        SourceError: A packaged checkpoint has no task at all.

    """
    asked = spec.options.task
    if spec.framework == "keras" or spec.kind == "gguf":
        if asked not in (None, "text-generation"):
            raise SpecError(
                f"Model '{spec.name}': task={asked} is for hf models in Hugging Face's own format "
                f"only, not for {spec.framework}:{spec.source}, which generates text. Drop it."
            )
        return Profile("text-generation", options=spec.options)
    config = _config_of(spec)
    if config is None:
        return Profile(asked or "text-generation", options=spec.options)
    return profile(config, spec.options, f"Model '{spec.name}'")


def profile(config: Mapping[str, Any], options: ModelOptions, where: str = "Model") -> Profile:
    """What a checkpoint does that has this config (config.json as plain data): see profile_of."""
    task = _task(config, options.task, where)
    if task == "text-generation":
        return Profile(task, options=options)
    counts = (config.get(key) for key in ("num_hidden_layers", "n_layers", "n_layer", "num_layers"))
    layers = next((count for count in counts if isinstance(count, int)), None)
    if task == "zero-shot":
        return Profile(task, options.candidate_labels, "one_of", layers, options)
    if task == "question-answering":
        return Profile(task, layers=layers, options=options)
    labels = _labels(config)
    if not config.get("id2label") and len(labels) > 1:
        _log.warning(
            "%s: its config names no labels; they are called %s, as transformers does.",
            where,
            ", ".join(labels[:4]) + (", …" if len(labels) > 4 else ""),
        )
    head = head_of(config.get("problem_type"), len(labels), options)
    return Profile(task, labels, head, layers, options)


def _task(config: Mapping[str, Any], asked: str | None, where: str) -> str:
    classes = [str(one) for one in config.get("architectures") or ()]
    own = next(
        (one for name in classes for one in KINDS.values() if name.endswith(one.heads)), None
    )
    if asked is not None:
        wanted = KINDS[asked]
        # Heads that none of ours has are left to the loader: there are too many to know.
        if own is not None and own.heads != wanted.heads:
            raise SpecError(
                f"{where} is a {classes[0]}: it has the head of a {own.what}, not that of a "
                f"{wanted.what} (…{wanted.heads[0]}), which task={asked} needs. Leave task out, or "
                "name another checkpoint."
            )
        return asked
    if "task" in config:
        return str(config["task"])
    if own is None:
        return "text-generation"  # which its loader checks
    if own.heads == _CLASSIFIER:
        infers = any(label.lower().startswith("entail") for label in _labels(config))
        return "pair-classification" if infers else "text-classification"
    return own.task


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    names = {int(number): str(name) for number, name in (config.get("id2label") or {}).items()}
    count = len(names) or config.get("num_labels") or config.get("_num_labels") or 2
    return tuple(names.get(number, f"LABEL_{number}") for number in range(count))


def head_of(problem_type: str | None, labels: int, options: ModelOptions) -> Head:
    """What kind of head a classifier has, or is said to have, by its config's `problem_type`."""
    head = _HEADS.get(options.problem_type or problem_type or "", "one_of")
    return "yes_or_no" if head == "one_of" and labels == 1 else head


def _config_of(spec: ModelSpec) -> Mapping[str, Any] | None:
    """The config of a checkpoint as plain data; None if it cannot be had."""
    if spec.kind == "packaged":
        row = packaged.find(spec.source.removeprefix("packaged:"))
        if row.config is None:
            return {"task": "text-generation", "architectures": ["LlamaForCausalLM"]}
        if "task" not in row.config and spec.options.task is None:
            raise SourceError(
                f"Model '{spec.name}': {spec.source} has no task of its own ({row.about}). Name "
                "another, such as packaged:sentiment."
            )
        return row.config
    try:
        if spec.kind == "folder":
            path = Path(spec.source).expanduser() / "config.json"
        else:
            import huggingface_hub

            path = Path(
                huggingface_hub.hf_hub_download(
                    spec.source,
                    "config.json",
                    revision=spec.options.revision,
                    etag_timeout=_CONFIG_SECONDS,
                )
            )
        found = json.loads(path.read_text(encoding="utf-8"))
    except Exception as error:  # no network, no such model, no right to it, no JSON: loading says
        _log.info("The config of %s is not known yet: %s", spec.source, error)
        return None
    return found if isinstance(found, dict) else None


def open_model(spec: ModelSpec, profile: Profile | None = None) -> Any:
    """Fetches and loads the model of a specification. Raises LitPluginsError."""
    _find("components", "language_models:require")(spec.framework)
    profile = profile or profile_of(spec)
    kind = profile.kind
    if kind.open is not None:
        return _find("components", kind.open)(spec)
    import transformers

    from lit_plugins.models import hf_loading

    description = f"{spec.framework}:{spec.source}"
    path = locate(spec).path
    config = hf_loading.config_of(path, spec.options, description).to_dict()
    # Once more, for of a hub's model it may not have been known before.
    _task(config, profile.task, f"Model '{spec.name}'")
    auto = getattr(transformers, str(kind.auto))
    model, tokenizer = hf_loading.load(auto, path, spec.options, description, kind.what)
    made = kind.make(model, tokenizer, profile.options, description)
    profile.check(made, spec.name)
    return made


def task_of(model: Any) -> str:
    """The task of one of our loaded models; empty if it is of none."""
    return next((kind.task for kind in KINDS.values() if kind.is_of(model)), "")


def is_keras_lm(model: Any) -> bool:
    """Whether it is a causal language model of keras-hub."""
    # Whoever has such a model has imported its library; nobody else needs it.
    library = sys.modules.get("keras_hub")
    return library is not None and isinstance(model, library.models.CausalLM)


def profile_of_loaded(model: Any, name: str, options: ModelOptions | None = None) -> Profile:
    """What a model does that is loaded already: one of ours, or one of `transformers`.

    `options` are for one of `transformers`; ours has its own.

    Raises SpecError if it does none of our tasks.
    """
    own = next((kind for kind in KINDS.values() if kind.is_of(model)), None)
    if own is None:
        config = model.config.to_dict() | {"architectures": [type(model).__name__]}
        return profile(config, options or ModelOptions(), f"Model '{name}'")
    if own.open is not None:
        return Profile(own.task, options=model.options)
    own_options = model.options.model_copy(update={"task": own.task})
    return profile(model.model.config.to_dict(), own_options, f"Model '{name}'")


def _find(package: str, name: str | Callable[..., Any]) -> Callable[..., Any]:
    """What a row names, in one of our packages; a plugin's row has the thing itself."""
    if not isinstance(name, str):
        return name
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(f"lit_plugins.{package}.{module}"), attribute)
