"""Two lines of Python: `load` a model, and call what it returns.

import lit_plugins

explainer = lit_plugins.load("hf:packaged:sentiment")
explainer("I love you, I like you")
"""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from tqdm.auto import tqdm

from lit_plugins import plugins, sources
from lit_plugins.attribution.cost import Estimate
from lit_plugins.attribution.explanation import Explanation, written
from lit_plugins.components.loading import Loadable
from lit_plugins.components.shared import Shared
from lit_plugins.errors import InputError, SpecError
from lit_plugins.models import kinds
from lit_plugins.sources import ModelSpec

BATCH = 32  # inputs that a lazy list computes at a time
_SLOW = 2.0  # seconds after which progress is shown

# By where they are from: what explanations of this process are shown with.
_LOADED: weakref.WeakValueDictionary[str, ModelExplainer] = weakref.WeakValueDictionary()


def load(
    model: Any, tokenizer: Any = None, *, name: str | None = None, **options: Any
) -> ModelExplainer:
    """Load a model for explanations.

    Args:
        model: A spec, `hf:SOURCE?options` or `keras:SOURCE`, as docs/models.md describes them; a
            `transformers` model that is loaded already, with its tokenizer; a keras-hub
            `CausalLM`; one of our loaded models. A loaded model is used, not copied; its
            parameters are frozen and it is put into evaluation mode.
        tokenizer: Of a `transformers` model: a fast one.
        name: What it is called. Default: the end of its source.
        **options: Of `lit_plugins.sources.ModelOptions`: `dtype`, `device`, `task` and so on.

    Raises LitPluginsError: the spec cannot be understood, or the model not found or loaded.

    """
    plugins.load()
    if isinstance(model, ModelSpec):
        return _of_spec(model, tokenizer, name, options)
    if isinstance(model, str):
        return _of_spec(sources.parse_unnamed(model, name), tokenizer, name, options)
    chosen = sources.model_options(options, "load()")
    if tokenizer is not None:
        title = name or str(getattr(model.config, "name_or_path", "") or type(model).__name__)
        profile = kinds.profile_of_loaded(model, title, chosen)
        made = profile.kind.make(model, tokenizer, profile.options, title)
        return ModelExplainer(made, title)
    if kinds.task_of(model):
        if options:
            raise SpecError("A model of ours has its options already. Leave them out.")
        return ModelExplainer(model, name or model.description)
    if kinds.is_keras_lm(model):
        from lit_plugins.models.keras_text import KerasCausalLM

        title = name or str(getattr(model, "name", "model"))
        return ModelExplainer(KerasCausalLM(model, chosen, title), title)
    more = ", and a tokenizer beside it" if hasattr(model, "get_input_embeddings") else ""
    raise SpecError(
        f"load() got {type(model).__name__}. Expected a spec such as 'hf:packaged:sentiment', a "
        f"transformers model with its tokenizer, or a keras-hub CausalLM{more}."
    )


def _of_spec(
    spec: ModelSpec, tokenizer: Any, name: str | None, options: Mapping[str, Any]
) -> ModelExplainer:
    if tokenizer is not None:
        raise SpecError("A spec names its tokenizer too. Leave the second argument out.")
    if options:
        given = spec.options.model_dump(exclude_unset=True)
        if twice := sorted(given.keys() & options.keys()):
            raise SpecError(f"{twice[0]} is given in the spec and as an argument. Drop one.")
        source = f"{spec.framework}:{spec.source}"
        spec = sources.model_from_mapping(spec.name, {"source": source, **given, **options})
    made = kinds.open_model(spec)
    # With its options, so that explanations say which of two it was.
    made.description = spec.text.partition("=")[2]
    return ModelExplainer(made, name or spec.name)


class ModelExplainer:
    """A loaded model. Calling it explains what it says.

    Attributes:
        model: One of ours, in `lit_plugins.models`.
        name: What it is called.
        task: What it does, one of `lit_plugins.models.kinds.KINDS`.

    """

    def __init__(self, model: Any, name: str):
        self.model = model
        self.name = name
        self.task = kinds.task_of(model)
        self._generates = self.task == "text-generation"
        engine = "explainer:Explainer" if self._generates else "text_explainer:TextExplainer"
        self._shared: Shared[Any] = Shared(Loadable(name, lambda: model), engine)
        _LOADED[model.description] = self

    @property
    def fields(self) -> tuple[str, ...]:
        """The texts that an input has, in the order in which they are given."""
        return ("prompt",) if self._generates else self.model.example_fields

    def __repr__(self) -> str:
        return f"<ModelExplainer of {self.name}: {self.task} of {', '.join(self.fields)}>"

    @overload
    def __call__(self, inputs: list[Any], *more: Any, **options: Any) -> Explanations: ...

    @overload
    def __call__(
        self, inputs: str | tuple[str, ...] | Mapping[str, Any], *more: Any, **options: Any
    ) -> Explanation: ...

    def __call__(self, inputs: Any, *more: Any, **options: Any) -> Explanation | Explanations:
        """Why the model says what it says.

        Args:
            inputs: A text; a mapping of the model's fields; a tuple of texts, one a field; or a
                list of these, which gives a lazy list.
            *more: Further texts of a model that reads several: `explainer(question, context)`.
            **options: Of `explain`.

        Raises InputError for what cannot be explained.

        """
        if isinstance(inputs, list):
            if more:
                raise InputError(
                    f"A list stands alone. Give {' and '.join(self.fields)} of each input as a "
                    "tuple in it."
                )
            return Explanations(self, inputs, options)
        return self.explain((inputs, *more) if more else inputs, **options)

    def explain(
        self,
        inputs: Any,
        *,
        method: str | None = None,
        target: str | None = None,
        span: Any = None,
        contrast: str | None = None,
        unit: str | None = "word",
        **options: Any,
    ) -> Explanation:
        """One explanation: see `explain_all`."""
        [made] = self.explain_all(
            [inputs],
            method=method,
            target=target,
            span=span,
            contrast=contrast,
            unit=unit,
            **options,
        )
        return made

    def explain_all(
        self,
        inputs: Sequence[Any],
        *,
        method: str | None = None,
        target: str | None = None,
        span: Any = None,
        contrast: str | None = None,
        unit: str | None = "word",
        **options: Any,
    ) -> list[Explanation]:
        """Explanations of several inputs, computed in batches, in their order.

        Args:
            inputs: Each a text, a tuple of texts or a mapping of fields.
            method: One of METHODS. Default: `integrated_gradients`, or `leave_one_out` for models
                that generate text.
            target: The label, answer or completion to explain. Default: the model's own. A
                mapping's `target` comes first.
            span: Which part of it: a tagged word, `start` or `end` of an answer, text of a
                completion.
            contrast: The label, answer or text that could have stood in its place: why this and
                not that?
            unit: What gets a score: `token`, `word`, `sentence`, `line`, `paragraph`, `example`;
                None for the method's own.
            **options: Of `lit_plugins.attribution.options.Options`: `output`, `baseline`, `steps`
                and so on; `progress` and `cancel`; `limit_seconds`, above which is refused what
                is expected to take longer (default: the model's `max_explanation_seconds` for each
                input); and an input's further fields, such as `candidate_labels`.

        Raises InputError for what cannot be explained.

        """
        options |= _options(method, contrast, unit, options)
        asked = self._asks(inputs, target, span, options)
        # The model's limit is for one input: whoever gives a list knows that it takes longer.
        options.setdefault("limit_seconds", self.engine.limit_seconds * max(1, len(asked)))
        return self.engine.explain_all(asked, **options)

    def check(
        self,
        *,
        method: str | None = None,
        contrast: str | None = None,
        unit: str | None = "word",
        **options: Any,
    ) -> None:
        """Raise InputError for arguments of `explain` that are wrong whatever the input."""
        options |= {"method": self.engine.default_method}
        options |= _options(method, contrast, unit, options)
        for name in self._further_fields:
            options.pop(name, None)
        self.engine.check(**options)

    def estimate(
        self,
        inputs: Any,
        *,
        method: str | None = None,
        target: str | None = None,
        span: Any = None,
        contrast: str | None = None,
        unit: str | None = "word",
        **options: Any,
    ) -> Estimate:
        """What the same arguments would cost `explain`: passes, seconds, memory.

        Nothing is explained; the first time, some passes over short texts are timed.
        """
        options |= _options(method, contrast, unit, options)
        [asked] = self._asks([inputs], target, span, options)
        # An Ask or a Request, whose three fields are the first arguments.
        given = (getattr(asked, one.name) for one in dataclasses.fields(asked))
        return self.engine.estimate(*given, **options)

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """What the model says of each input, in plain values that JSON has.

        Raises InputError for an input that cannot be processed.
        """
        examples = [self._example(one) for one in inputs]
        if self._generates:
            made = self.model.generate([self._prompt(example) for example in examples])
            return [{"response": one.response} for one in made]
        return [_plain(output, self._spec) for output in self._lit_model.predict(examples)]

    def _asks(
        self, inputs: Sequence[Any], target: str | None, span: Any, options: dict[str, Any]
    ) -> list[Any]:
        """What is asked of each input; fields of all of them are taken out of the options."""
        shared = {name: options.pop(name) for name in self._further_fields if name in options}
        return [self._asked({**shared, **self._example(one)}, target, span) for one in inputs]

    def _example(self, one: Any) -> dict[str, Any]:
        fields = self.fields
        if isinstance(one, Mapping):
            return dict(one)
        texts = [one] if isinstance(one, str) else one
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            raise InputError(
                f"An input is {' and '.join(fields)} as text, or a mapping of them. Got "
                f"{type(one).__name__}: {one!r:.60}."
            )
        if len(texts) != len(fields):
            raise InputError(
                f"This model reads {' and '.join(fields)}. Got {len(texts)} "
                f"{'text' if len(texts) == 1 else 'texts'}."
            )
        return dict(zip(fields, texts, strict=True))

    @property
    def _further_fields(self) -> tuple[str, ...]:
        return () if self._generates else self.model.optional_fields

    @property
    def engine(self) -> Any:
        """What explains the model: an Explainer of prompts, or a TextExplainer."""
        return self._shared.explainer()

    def _asked(self, example: Mapping[str, Any], target: str | None, span: Any) -> Any:
        if self._generates:
            from lit_plugins.attribution.explainer import Request

            return Request(self._prompt(example), example.get("target") or target, span)
        from lit_plugins.attribution.text_explainer import Ask

        return Ask(example, example.get("target") or target, span)

    def _prompt(self, example: Mapping[str, Any]) -> Any:
        from lit_plugins.components.language_models import field_of

        return field_of(example, "prompt")

    @functools.cached_property
    def _lit_model(self) -> Any:
        """What LIT would ask."""
        profile = kinds.profile_of_loaded(self.model, self.name)
        fewer = {"embeddings": False, "attention": False, "gradients": False}
        options = profile.options.model_copy(update=fewer)
        loaded = Loadable(self.name, lambda: self.model)
        profile = dataclasses.replace(profile, options=options)
        made = profile.kind.lit_models(self.name, loaded, profile, self.model.description)
        return made[self.name]

    @functools.cached_property
    def _spec(self) -> Mapping[str, Any]:
        return self._lit_model.output_spec()


def _options(
    method: str | None, contrast: str | None, unit: str | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    """The engine's names for what people call otherwise. Raises InputError."""
    found: dict[str, Any] = {}
    if contrast is not None:
        if "foil" in given:
            raise InputError("contrast and foil are two names of one option. Give one.")
        found["foil"] = contrast
    if unit is not None and not {"segment", "pattern"} & given.keys():
        found["segment"] = unit
    if method is not None:
        found["method"] = method
    return found


class Explanations(Sequence[Explanation]):
    """Explanations of a list of inputs, each batch computed when one of it is looked at.

    They are kept; progress is shown where it takes over two seconds.
    """

    def __init__(self, explainer: ModelExplainer, inputs: list[Any], options: Mapping[str, Any]):
        self._explainer = explainer
        self._inputs = list(inputs)
        self._options = dict(options)
        self._made: dict[int, list[Explanation]] = {}

    def __len__(self) -> int:
        return len(self._inputs)

    @overload
    def __getitem__(self, place: int) -> Explanation: ...

    @overload
    def __getitem__(self, place: slice) -> list[Explanation]: ...

    def __getitem__(self, place: int | slice) -> Explanation | list[Explanation]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place = range(len(self))[place]  # negative ones too; raises IndexError
        return self._batch(place // BATCH)[place % BATCH]

    def __iter__(self) -> Iterator[Explanation]:
        with tqdm(total=len(self), desc="Explaining", delay=_SLOW, leave=False) as bar:
            for number in range(-(-len(self) // BATCH)):
                made = self._batch(number, bar)
                bar.update(number * BATCH + len(made) - bar.n)
                yield from made

    def _batch(self, number: int, bar: tqdm | None = None) -> list[Explanation]:
        if number not in self._made:
            few = self._inputs[number * BATCH : (number + 1) * BATCH]
            options = self._options
            if bar is not None and "progress" not in options:
                options = {**options, "progress": _moving(bar, len(few))}
            self._made[number] = self._explainer.explain_all(few, **options)
        return self._made[number]

    def __repr__(self) -> str:
        done = sum(map(len, self._made.values()))
        return f"<Explanations of {len(self)} inputs, {done} computed>"

    def to_html(self, path: Any = None) -> str:
        """One page of all of them; also written to `path`."""
        from lit_plugins.display import html

        return written(html.page(list(self)), path)

    def _repr_html_(self) -> str:
        from lit_plugins.display import html

        return "".join(html.fragment(one) for one in self)

    def show_in_lit(self, **widget: Any) -> Any:
        """LIT's page with the model and all inputs: see `lit_plugins.notebook.show`."""
        from lit_plugins import notebook

        return notebook.show(self, **widget)


def _moving(bar: tqdm, count: int) -> Callable[[int, int], None]:
    """Moves the bar by up to `count` inputs as their passes are done."""
    begin = bar.n

    def report(done: int, expected: int) -> None:
        bar.update(begin + int(count * min(1.0, done / max(1, expected))) - bar.n)

    return report


def explainer_of(explanation: Explanation) -> ModelExplainer:
    """What made an explanation; loaded again if it is gone. Raises LitPluginsError."""
    if (known := _LOADED.get(explanation.model)) is not None:
        return known
    return load(explanation.model)


def _plain(output: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """A LIT model's output as JSON has it, without what is only for LIT's views."""
    from lit_nlp.api import dtypes
    from lit_nlp.api import types as lit_types

    def value(kind: Any, one: Any) -> Any:
        if isinstance(kind, lit_types.MulticlassPreds):
            return {label: float(p) for label, p in zip(kind.vocab or (), one, strict=True)}
        if isinstance(kind, lit_types.SparseMultilabelPreds):
            return {label: float(p) for label, p in one}
        if isinstance(one, dtypes.SpanLabel):
            return {"start": one.start, "end": one.end, "label": one.label}
        if isinstance(one, dtypes.AnnotationCluster):
            spans = [{"start": s.start, "end": s.end, "text": s.label} for s in one.spans]
            return {"label": one.label, "score": one.score, "spans": spans}
        if isinstance(one, Mapping):
            return {str(key): value(None, each) for key, each in one.items()}
        if isinstance(one, Iterable) and not isinstance(one, str):
            return [value(None, each) for each in one]
        return one if isinstance(one, str) or not hasattr(one, "item") else one.item()

    return {
        name: value(spec[name], one)
        for name, one in output.items()
        if name in spec and name != "entities_in_data" and not name.startswith("tokens_")
    }
