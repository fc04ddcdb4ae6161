"""What the LIT models of classifiers, taggers and question answerers have in common."""

from __future__ import annotations

import abc
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_plugins import datasets
from lit_plugins.attribution.explanation import Explanation
from lit_plugins.components.shared import (
    Answer,
    Asked,
    Choice,
    Loaded,
    Member,
    Reading,
    Shared,
    Wanted,
)
from lit_plugins.errors import InputError, SpecError
from lit_plugins.models.encoded import NO_FIELD, Encoded, Inquiry
from lit_plugins.models.kinds import Profile
from lit_plugins.models.tokens import with_space_marks

if TYPE_CHECKING:
    from lit_plugins.models.hf_encoder import HFEncoder

# Longer texts get no attention: LIT keeps what it is given, and it grows with the square.
ATTENTION_TOKENS = 256
_ATTENTION_TEXTS = 4  # that go through the model together, for the same reason
EMBEDDING, ATTENTION_OF = "embedding", "attention_tokens"

_log = logging.getLogger(__name__)


def _ask_the_model_itself(self: lit_model.ModelWrapper, dataset: lit_dataset.Dataset) -> bool:
    return self.wrapped.is_compatible_with_dataset(dataset)


# LIT asks its cache around a model, which compares the specs and hands everything else on but this.
lit_model.ModelWrapper.is_compatible_with_dataset = _ask_the_model_itself


class EncoderModel(Member[Any], abc.ABC):
    """A model that reads whole texts, loaded when it is first asked.

    Args:
        name: What LIT calls it.
        loaded: What gives us the model.
        profile: What is known of it before.
        description: Where it is from.

    """

    label_field: str | None = None  # of the data: what is predicted
    label_type: type[lit_types.LitType] = lit_types.CategoryLabel
    labels_may_differ = False  # from the model's, in data that is offered for it

    def __init__(self, name: str, loaded: Loaded[Any], profile: Profile, description: str = ""):
        if profile.options.attention and profile.layers is None:
            raise SpecError(
                f"Model {name!r}: attention=on needs a config that says how many layers there are "
                "(num_hidden_layers), and this one does not. Leave it out."
            )
        super().__init__(Shared(loaded, "text_explainer:TextExplainer"), description)
        self.profile = profile
        self._name = name
        self._warned: set[str] = set()

    # What a task adds.

    @property
    @abc.abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Labels that the data may have; empty if any."""

    @abc.abstractmethod
    def _windows(self, model: Any, example: Mapping[str, Any]) -> Sequence[Encoded]:
        """The tokens of an example, of each window where it is long. Raises InputError."""

    @abc.abstractmethod
    def _predict(self, model: Any, examples: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """See Member."""

    @abc.abstractmethod
    def explanations(
        self,
        examples: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]] | None,
        wanted: Wanted,
    ) -> list[Explanation]:
        """See Explainable."""

    @abc.abstractmethod
    def in_words(self, output: Mapping[str, Any]) -> str:
        """See Explainable."""

    @abc.abstractmethod
    def _choices(self, model: Any, example: Mapping[str, Any], output: Any) -> list[Choice]:
        """What may be explained of an output, the likeliest first; one of them is chosen."""

    # What our own client asks.

    further_options: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """See Askable."""
        return self.profile.task

    def reading(self, example: Mapping[str, Any], answer: Answer, asked: Asked) -> Reading:
        """See Askable."""
        example = self._checked(example)
        choices = self._choices(self.shared.get(), example, answer.get())
        [question] = self._inquiries(example, asked, choices)
        return Reading(question, dropped=question.text.dropped, choices=tuple(choices))

    def questions(self, example: Mapping[str, Any], answer: Answer, asked: Asked) -> list[Inquiry]:
        """See Askable: of what is chosen, if nothing is asked for."""
        example = self._checked(example)
        choices: list[Choice] = []
        if asked.label is None and asked.span is None:
            choices = self._choices(self.shared.get(), example, answer.get())
        return self._inquiries(example, asked, choices)

    def sketches(self, example: Mapping[str, Any], answer: Answer, asked: Asked) -> list[Inquiry]:
        """See Askable."""
        _check_asked(asked)
        return [self._sketch(self.shared.get(), self._checked(example), asked)]

    def _inquiries(
        self, example: Mapping[str, Any], asked: Asked, choices: Sequence[Choice]
    ) -> list[Inquiry]:
        from lit_plugins.attribution.text_explainer import Ask

        _check_asked(asked)
        label, span, each = asked.label, asked.span, bool(asked.options.get("each"))
        if label is None and span is None:
            label, span = self._default(choices, each)
        return self.engine().inquiries([Ask(example, label, span)], each)

    def _default(self, choices: Sequence[Choice], each: bool) -> tuple[str | None, str | None]:
        """Label and span that are explained if nobody chooses: what the model says."""
        return next(((one.label, one.span) for one in choices if one.chosen), (None, None))

    def _sketch(self, model: Any, example: Mapping[str, Any], asked: Asked) -> Inquiry:
        window = self._windows(model, example)[0]
        return Inquiry(window, (0,), (0,), ("",), (0,), foil=lambda name: (0,))

    def _checked(self, example: Mapping[str, Any]) -> Mapping[str, Any]:
        """The example, if it may be explained. Raises InputError."""
        return example

    def attention_of(self, example: Mapping[str, Any]) -> tuple[Encoded, list[np.ndarray]]:
        """The tokens of an example, and each layer's weights, (heads, tokens, tokens).

        Raises InputError for a text that is too long, or a model without attention.
        """
        model = self.shared.get()
        text = self._windows(model, example)[0]
        if len(text.ids) > ATTENTION_TOKENS:
            raise InputError(
                f"The text has {len(text.ids)} tokens; attention is shown for {ATTENTION_TOKENS} "
                "at most. Shorten it."
            )
        [(_, _, _, weights)] = _pass(model, [text], hidden=False, attention=True)
        return text, weights

    def special_tokens(self) -> frozenset[str]:
        """See Explainable."""
        return frozenset(self.shared.get().tokenizer.all_special_tokens)

    # Data.

    def is_compatible_with_dataset(self, dataset: lit_dataset.Dataset) -> bool:
        """See lit_model.Model. Labels that a classifier does not have would break LIT's metrics."""
        dataset = _as_read(dataset)
        spec = dataset.spec()
        for name, kind in self.input_spec().items():
            if name == self.label_field:
                continue
            found = spec.get(name)
            if found is None and kind.required:
                return False
            if found is not None and not isinstance(found, type(kind)):
                return False
        problem = self._label_problem(dataset)
        if problem is None:
            return True
        # What was made for another task is no mistake.
        if getattr(dataset, "task", None) == self.profile.task and problem not in self._warned:
            self._warned.add(problem)
            outcome = "" if self.labels_may_differ else " The set is not offered for this model."
            _log.warning("%s%s", problem, outcome)
        return self.labels_may_differ

    def _label_problem(self, dataset: lit_dataset.Dataset) -> str | None:
        if self.label_field is None or (found := dataset.spec().get(self.label_field)) is None:
            return None
        field = self.label_field
        title = getattr(dataset, "name", "")
        if not isinstance(found, self.label_type):
            wanted = "numbers" if self.label_type is lit_types.Scalar else "names of labels"
            given = "numbers" if isinstance(found, lit_types.Scalar) else "text"
            return (
                f"Dataset {title!r} has {given} as {field}, and model {self._name!r} "
                f"gives {wanted}. Write them as such (1.0 is a number, 1 a name)."
            )
        known = {"", *self.labels}
        if not self.labels or all(
            set(_listed(example.get(field))) <= known for example in dataset.examples
        ):
            return None
        if isinstance(dataset, datasets.RecordDataset):
            return datasets.describe_unknown(dataset, self._name, self.labels)
        return (
            f"Dataset {title!r} has labels that model {self._name!r} does not have. The model's "
            f"labels: {', '.join(self.labels)[:200]}. Rename those of the data."
        )

    # What may be had beside predictions.

    def _extra_spec(self) -> lit_types.Spec:
        options, spec = self.profile.options, {}
        if options.embeddings:
            spec[EMBEDDING] = lit_types.Embeddings()
        if options.attention:
            spec[ATTENTION_OF] = lit_types.Tokens()
            for name in self._attention_fields():
                spec[name] = lit_types.AttentionHeads(align_in=ATTENTION_OF, align_out=ATTENTION_OF)
        return spec

    def _attention_fields(self) -> list[str]:
        return [f"layer_{number + 1}/attention" for number in range(self.profile.layers or 0)]

    def _extras(
        self, model: HFEncoder, texts: Sequence[Sequence[Encoded]]
    ) -> list[tuple[dict[str, Any], np.ndarray | None]]:
        """For each text, given as its windows: extra fields, and the head's logits if it has any.

        Embeddings are means over all windows; logits and attention are of the first one.
        """
        options = self.profile.options
        flat = [window for windows in texts for window in windows]
        states: list[np.ndarray] = [np.zeros(0)] * len(flat)
        logits: list[np.ndarray | None] = [None] * len(flat)
        heads: dict[int, list[np.ndarray]] = {}
        firsts, begin = [], 0
        for windows in texts:
            firsts.append(begin)
            begin += len(windows)
        seen = set()
        if options.attention:
            seen = {at for at in firsts if len(flat[at].ids) <= ATTENTION_TOKENS}
        for shown, places in ((True, sorted(seen)), (False, sorted(set(range(len(flat))) - seen))):
            few = _ATTENTION_TEXTS if shown else max(1, len(places))
            for start in range(0, len(places), few):
                some = places[start : start + few]
                for place, state, logit, weights in _pass(
                    model, [flat[at] for at in some], hidden=options.embeddings, attention=shown
                ):
                    states[some[place]], logits[some[place]] = state, logit
                    heads[some[place]] = weights
        found = []
        for first, windows in zip(firsts, texts, strict=True):
            made: dict[str, Any] = {}
            if options.embeddings:
                made[EMBEDDING] = _mean(windows, states[first : first + len(windows)])
            if options.attention:
                own = first in seen
                made[ATTENTION_OF] = shown_tokens(flat[first]) if own else []
                for layer, name in enumerate(self._attention_fields()):
                    made[name] = heads[first][layer] if own else np.zeros((0, 0, 0), np.float16)
            found.append((made, logits[first]))
        return found


def _check_asked(asked: Asked) -> None:
    """Raise InputError for what is asked of language models only."""
    if asked.target is not None or asked.spans:
        raise InputError(
            "target and spans are for language models. Of this model a choice is explained: one of "
            "those that texts names, or none for what the model says."
        )


def _pass(
    model: HFEncoder, texts: Sequence[Encoded], *, hidden: bool, attention: bool
) -> Iterable[tuple[int, np.ndarray, np.ndarray | None, list[np.ndarray]]]:
    """Of each text: its number, last states (tokens, dim), logits, heads (heads, tokens, tokens).

    States are empty unless asked for; logits are None where the head has another output.
    """
    computed = model.eager() if attention else contextlib.nullcontext()
    wanted = {"output_hidden_states": hidden, "output_attentions": attention}
    with computed:
        for group, _, output in model.run(texts, **{key: on for key, on in wanted.items() if on}):
            to_numpy = model.backend.to_numpy
            states = to_numpy(output.hidden_states[-1]) if hidden else None
            logits = to_numpy(output.logits) if "logits" in output else None
            weights = [to_numpy(one) for one in _attentions(output)] if attention else []
            for row, place in enumerate(group):
                count = len(texts[place].ids)
                yield (
                    place,
                    np.zeros(0) if states is None else states[row, :count],
                    None if logits is None else logits[row],
                    # Half as much to keep, and as exact as colours are.
                    [one[row, :, :count, :count].astype(np.float16) for one in weights],
                )


def _attentions(output: Any) -> Sequence[Any]:
    found = getattr(output, "attentions", None)
    if not found or any(one is None for one in found):
        raise InputError("This model returns no attention weights. Load it without attention=on.")
    return found


def _mean(windows: Sequence[Encoded], states: Sequence[np.ndarray]) -> np.ndarray:
    """The mean last state of the texts' own tokens, (dim,); of special ones if there are none."""
    own = np.concatenate([[owner != NO_FIELD for owner in one.fields] for one in windows])
    rows = np.concatenate(states)
    return (rows[own] if own.any() else rows).mean(0)


def shown_tokens(text: Encoded, field: int | None = None) -> list[str]:
    """Tokens as people read them, of one field or of all with the special ones."""
    return [
        with_space_marks(piece)
        for piece, owner in zip(text.pieces, text.fields, strict=True)
        if field is None or owner == field
    ]


def _as_read(dataset: lit_dataset.Dataset) -> lit_dataset.Dataset:
    """The dataset as it was read, where LIT has put an index around it."""
    inner: Any = dataset
    while inner is not None and not isinstance(inner, datasets.RecordDataset):
        inner = getattr(inner, "_base", None)
    return dataset if inner is None else inner


def _listed(value: Any) -> Sequence[str]:
    return [value] if isinstance(value, str) else list(value or ())
