"""Classifiers of texts and pairs as LIT models, those with labels named at will among them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_plugins.attribution.explanation import Explanation
from lit_plugins.components.encoders import EncoderModel, shown_tokens
from lit_plugins.components.shared import Asked, Choice, Loaded, Wanted
from lit_plugins.display import wording
from lit_plugins.errors import InputError
from lit_plugins.models.encoded import Encoded, Inquiry
from lit_plugins.models.kinds import Profile

if TYPE_CHECKING:
    from lit_plugins.models.hf_sequence import HFSequenceClassifier
    from lit_plugins.models.hf_zero_shot import HFZeroShotClassifier

PROBAS, SCORE, SCORES = "probas", "score", "scores"
# What the label of nothing special is called, which LIT's binary metrics need to know.
_NULL = ("not", "neg", "no", "non")


def sequence_models(
    name: str, loaded: Loaded[HFSequenceClassifier], profile: Profile, description: str
) -> dict[str, lit_model.Model]:
    """See `lit_plugins.models.kinds.Kind`."""
    return {name: SequenceModel(name, loaded, profile, description)}


def zero_shot_models(
    name: str, loaded: Loaded[HFZeroShotClassifier], profile: Profile, description: str
) -> dict[str, lit_model.Model]:
    """See `lit_plugins.models.kinds.Kind`."""
    return {name: ZeroShotModel(name, loaded, profile, description)}


class SequenceModel(EncoderModel):
    """Labels or a number for a text or a pair, by what the head means.

    `one_of` and `yes_or_no`: probabilities of labels that exclude each other; with one logit they
    are `not LABEL` and `LABEL`, and the logit is a field of its own. `any_of`: a probability for
    each label. `number`: one score, or one a label.
    """

    def __init__(
        self,
        name: str,
        loaded: Loaded[HFSequenceClassifier],
        profile: Profile,
        description: str = "",
    ):
        super().__init__(name, loaded, profile, description)
        self._fields: tuple[str, ...] = profile.kind.arguments["fields"]
        self.summary = "Classifies a text." if len(self._fields) == 1 else "Classifies a pair."
        self.further_options = ("over",) if len(self._fields) == 2 else ()
        self.label_field = "labels" if profile.head == "any_of" else "label"
        self.label_type = {
            "any_of": lit_types.SparseMultilabel,
            "number": lit_types.Scalar,
        }.get(profile.head, lit_types.CategoryLabel)
        self._table: tuple[list[str], np.ndarray] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """See EncoderModel: the vocabulary of LIT's MulticlassPreds."""
        names, head = self.profile.labels, self.profile.head
        if head == "yes_or_no":
            return (f"not {names[0]}", names[0])
        return () if head == "number" else names

    def input_spec(self) -> lit_types.Spec:
        """See lit_model.Model."""
        spec: lit_types.Spec = {name: lit_types.TextSegment() for name in self._fields}
        if self.profile.options.gradients:
            spec |= {_tokens_of(name): self._tokens(name) for name in self._fields}
        label: lit_types.LitType = lit_types.CategoryLabel(vocab=self.labels, required=False)
        if self.profile.head == "any_of":
            label = lit_types.SparseMultilabel(vocab=self.labels, required=False)
        elif self.profile.head == "number":
            label = lit_types.Scalar(required=False)
        return spec | {str(self.label_field): label}

    def _tokens(self, name: str) -> lit_types.Tokens:
        return lit_types.Tokens(parent=name, required=False)

    def output_spec(self) -> lit_types.Spec:
        """See lit_model.Model."""
        spec: lit_types.Spec = {}
        head, names = self.profile.head, self.profile.labels
        if head in ("one_of", "yes_or_no"):
            spec[PROBAS] = multiclass(self.labels)
        if head == "yes_or_no":
            spec[SCORE] = lit_types.Scalar(min_val=-15, max_val=15)
        if head == "any_of":
            spec[SCORES] = lit_types.SparseMultilabelPreds(vocab=names, parent=self.label_field)
        if head == "number":
            only = self.label_field if len(names) == 1 else None
            spec |= {name: lit_types.RegressionScore(parent=only) for name in self._scores()}
        for name in self._fields:
            spec[_tokens_of(name)] = self._tokens(name)
            if self.profile.options.gradients:
                spec[_gradients_of(name)] = lit_types.TokenGradients(align=_tokens_of(name))
        return spec | self._extra_spec()

    def _scores(self) -> list[str]:
        """The fields of a regression."""
        names = self.profile.labels
        if len(names) == 1:
            return [SCORE]
        # Field names go into the page's HTML.
        plain = (re.sub(r"\W+", "_", name) for name in names)
        return [f"{SCORE}_{number}_{name}" for number, name in enumerate(plain)]

    def _windows(
        self, model: HFSequenceClassifier, example: Mapping[str, Any]
    ) -> Sequence[Encoded]:
        return [model.texts_of(example)]

    def _predict(
        self, model: HFSequenceClassifier, examples: list[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        texts = [model.texts_of(example) for example in examples]
        found = self._extras(model, [[text] for text in texts])
        logits = np.stack([np.asarray(row) for _, row in found]).astype(np.float32)
        outputs = []
        for text, row, (extra, _) in zip(texts, logits, found, strict=True):
            made = self._predictions(row, model.probabilities(row))
            for number, name in enumerate(self._fields):
                made[_tokens_of(name)] = (
                    _vocabulary_tokens(model, text, number)
                    if self.profile.options.gradients
                    else shown_tokens(text, number)
                )
            outputs.append(made | extra)
        if self.profile.options.gradients:
            for output, text, gradient in zip(
                outputs, texts, _gradients(model, texts, logits), strict=True
            ):
                for number, name in enumerate(self._fields):
                    output[_gradients_of(name)] = gradient[text.places(number)]
            self._table = self._table or _embedding_table(model)
        return outputs

    def _predictions(self, logits: np.ndarray, found: np.ndarray) -> dict[str, Any]:
        head = self.profile.head
        if head == "one_of":
            return {PROBAS: found.astype(np.float32)}
        if head == "yes_or_no":
            both = np.array([1 - found[0], found[0]], np.float32)
            return {PROBAS: both, SCORE: float(logits[0])}
        if head == "any_of":
            return {SCORES: ranked(self.labels, found)}
        return {name: float(value) for name, value in zip(self._scores(), found, strict=True)}

    def in_words(self, output: Mapping[str, Any]) -> str:
        """See Explainable."""
        if PROBAS in output or SCORES in output:
            return _first(self.labels, output)
        return ", ".join(f"{name} {output[name]:.3g}" for name in self._scores())

    def get_embedding_table(self) -> tuple[list[str], np.ndarray]:
        """See lit_model.Model: words that may stand in a text, for HotFlip.

        Empty before the first prediction: LIT looks at its type when the server starts, and that
        must not load the model.
        """
        if not self.profile.options.gradients:
            raise NotImplementedError("Only with gradients=on.")
        return self._table or ([], np.zeros((0, 0), np.float32))

    def explanations(
        self,
        examples: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]] | None,
        wanted: Wanted,
    ) -> list[Explanation]:
        """See Explainable: a label; with independent ones each by itself, or `part`, its name."""
        from lit_plugins.attribution.text_explainer import Ask

        options, part, head = dict(wanted.options), wanted.part, self.profile.head
        targets: list[str | None] = [None] * len(examples)
        if head == "any_of" or (head == "number" and len(self.profile.labels) > 1):
            targets, part = [part] * len(examples), None
            contrast = options.get("foil") or options.get("runner_up")
            if targets[0] is None and not contrast:
                options["each"] = True
        elif head != "number":
            targets = list(self._chosen(examples, outputs, wanted.label))
        asks = [
            Ask(example, target, part) for example, target in zip(examples, targets, strict=True)
        ]
        return self.shared.explainer().explain_all(asks, method=wanted.method, **options)

    def _choices(
        self, model: HFSequenceClassifier, example: Mapping[str, Any], output: Any
    ) -> list[Choice]:
        """See EncoderModel."""
        if self.profile.head != "number":
            return _labels(self.labels, output)
        return [
            Choice(label, label, None, wording.number(output[name]), number == 0)
            for number, (label, name) in enumerate(
                zip(self.profile.labels, self._scores(), strict=True)
            )
        ]

    def _default(self, choices: Sequence[Choice], each: bool) -> tuple[str | None, str | None]:
        """See EncoderModel: with `each` all labels."""
        return (None, None) if each else super()._default(choices, each)

    def _sketch(
        self, model: HFSequenceClassifier, example: Mapping[str, Any], asked: Asked
    ) -> Inquiry:
        """See EncoderModel."""
        made = super()._sketch(model, example, asked)
        every = asked.options.get("each") and asked.label is None
        count = len(self.profile.labels) if every else 1
        return replace(
            made, rows=(0,) * count, targets=(0,) * count, names=("",) * count,
            numbers=(0,) * count, weights=(1.0,) * count,
        )  # fmt: skip

    def _chosen(
        self,
        examples: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]] | None,
        label: int | None,
    ) -> list[str]:
        if label is None:
            known = outputs if outputs is not None else self.predict(examples)
            return [self.labels[int(np.argmax(output[PROBAS]))] for output in known]
        return [numbered(self.labels, label)] * len(examples)


class ZeroShotModel(EncoderModel):
    """Labels named at will.

    LIT's classification views need one vocabulary: they are there if the model's option
    `candidate_labels` gives it, and the labels exclude each other. Otherwise each text has labels
    of its own, shown by the Multilabel module.
    """

    summary = "Classifies a text by labels named at will."
    label_field = "label"
    further_options = ("over",)

    @property
    def labels(self) -> tuple[str, ...]:
        """See EncoderModel."""
        multi = self.profile.options.problem_type == "multi_label_classification"
        return () if multi else self.profile.labels

    def is_compatible_with_dataset(self, dataset: lit_dataset.Dataset) -> bool:
        """See lit_model.Model: each text needs labels, its own or the model's."""
        own = [example.get("candidate_labels") or () for example in dataset.examples]
        known = bool(self.profile.options.candidate_labels) or (bool(own) and all(own))
        if self.labels and not {one for labels in own for one in labels} <= set(self.labels):
            return False
        return known and super().is_compatible_with_dataset(dataset)

    def input_spec(self) -> lit_types.Spec:
        """See lit_model.Model. A text's own labels and template are read, too, if it has any."""
        return {
            "text": lit_types.TextSegment(),
            "label": lit_types.CategoryLabel(vocab=self.labels or None, required=False),
        }

    def output_spec(self) -> lit_types.Spec:
        """See lit_model.Model."""
        spec: lit_types.Spec = {SCORES: lit_types.SparseMultilabelPreds()}
        if self.labels:
            spec = {PROBAS: multiclass(self.labels)}
        return spec | {"tokens": lit_types.Tokens(parent="text")} | self._extra_spec()

    def _windows(
        self, model: HFZeroShotClassifier, example: Mapping[str, Any]
    ) -> Sequence[Encoded]:
        """With the first label's hypothesis."""
        return [model.pair(example, model.candidates(example)[0])]

    def _predict(
        self, model: HFZeroShotClassifier, examples: list[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        examples = [self._with_candidates(example) for example in examples]
        first = [self._windows(model, example)[0] for example in examples]
        extras = self._extras(model, [[text] for text in first])
        outputs = []
        for example, text, logits, (extra, _) in zip(
            examples, first, model.entailments(examples), extras, strict=True
        ):
            scores = dict(zip(model.candidates(example), model.scores(logits), strict=True))
            made: dict[str, Any] = {SCORES: ranked(tuple(scores), np.array(list(scores.values())))}
            if self.labels:
                # Labels that this text does not have among its own are out of the question.
                made = {PROBAS: np.array([scores.get(one, 0) for one in self.labels], np.float32)}
            outputs.append(made | {"tokens": shown_tokens(text, 0)} | extra)
        return outputs

    def _with_candidates(self, example: Mapping[str, Any]) -> Mapping[str, Any]:
        """The example, its own labels checked against the vocabulary. Raises InputError."""
        own = example.get("candidate_labels")
        if not self.labels or not own:
            return example
        own = [one.strip() for one in own.split(",")] if isinstance(own, str) else own
        strange = [one for one in own if one not in self.labels] if isinstance(own, list) else []
        if strange:
            raise InputError(
                f"candidate_labels: {strange[0]!r:.80} is none of the labels that this model was "
                f"set up with ({', '.join(self.labels)[:200]}). Load it with that label among its "
                "option candidate_labels."
            )
        return example

    def in_words(self, output: Mapping[str, Any]) -> str:
        """See Explainable."""
        return _first(self.labels, output)

    def explanations(
        self,
        examples: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]] | None,
        wanted: Wanted,
    ) -> list[Explanation]:
        """See Explainable: one label, chosen by number or as `part`; else the likeliest."""
        from lit_plugins.attribution.text_explainer import Ask

        target = wanted.part
        if target is None and wanted.label is not None:
            target = numbered(self.labels, wanted.label)
        asks = [Ask(self._with_candidates(example), target) for example in examples]
        return self.shared.explainer().explain_all(asks, method=wanted.method, **wanted.options)

    def _checked(self, example: Mapping[str, Any]) -> Mapping[str, Any]:
        """See EncoderModel."""
        return self._with_candidates(example)

    def _choices(
        self, model: HFZeroShotClassifier, example: Mapping[str, Any], output: Any
    ) -> list[Choice]:
        """See EncoderModel: the labels of this text."""
        own = model.candidates(example)
        return [one for one in _labels(self.labels, output) if one.label in own]

    def _sketch(
        self, model: HFZeroShotClassifier, example: Mapping[str, Any], asked: Asked
    ) -> Inquiry:
        """See EncoderModel: a contrast is with another text."""
        made = super()._sketch(model, example, asked)
        hypothesis = made.text.places(1)
        fixed = tuple(range(hypothesis.start, hypothesis.stop))
        return replace(made, fixed=fixed, foil=lambda name: made.text)


def multiclass(labels: Sequence[str]) -> lit_types.MulticlassPreds:
    """Probabilities of labels that exclude each other. Of two, one is the null label."""
    null = None
    if len(labels) == 2:
        null = next((n for n, name in enumerate(labels) if name.lower().startswith(_NULL)), 0)
    return lit_types.MulticlassPreds(vocab=tuple(labels), parent="label", null_idx=null)


def ranked(labels: Sequence[str], scores: np.ndarray) -> list[tuple[str, float]]:
    """Labels with their scores, the highest first."""
    order = [int(at) for at in np.argsort(-scores, kind="stable")]
    return [(labels[at], float(scores[at])) for at in order]


def _labels(labels: Sequence[str], output: Mapping[str, Any]) -> list[Choice]:
    """Labels by their probabilities."""
    found = ranked(labels, output[PROBAS]) if PROBAS in output else output[SCORES]
    return [
        Choice(label, label, None, wording.percent(score), number == 0)
        for number, (label, score) in enumerate(found)
    ]


def _first(labels: Sequence[str], output: Mapping[str, Any]) -> str:
    """The likeliest label and its probability."""
    [best, *_] = ranked(labels, output[PROBAS]) if PROBAS in output else output[SCORES]
    return f"{best[0]} {best[1]:.3f}"


def numbered(labels: Sequence[str], number: int) -> str:
    """The label of a number. Raises InputError."""
    if not 0 <= number < len(labels):
        raise InputError(f"There is no label number {number}: expected 0 to {len(labels) - 1}.")
    return labels[number]


def _tokens_of(field: str) -> str:
    return "tokens" + field.removeprefix("text")


def _gradients_of(field: str) -> str:
    return "token_gradients" + field.removeprefix("text")


def _vocabulary_tokens(model: HFSequenceClassifier, text: Encoded, number: int) -> list[str]:
    """Tokens as the vocabulary writes them: what HotFlip puts other tokens among."""
    return model.tokenizer.convert_ids_to_tokens(list(text.ids[text.places(number)]))


def _gradients(
    model: HFSequenceClassifier, texts: Sequence[Encoded], logits: np.ndarray
) -> list[np.ndarray]:
    """Of what is predicted, at each token embedding: one (tokens, dim) a text.

    What is predicted is the log-probability of the likeliest label, or the number itself.
    """
    import torch

    from lit_plugins.models.encoded import Inquiry

    task = model.task("logit" if model.head == "number" else "logprob")
    found: list[np.ndarray] = [np.zeros(0)] * len(texts)
    for group in model.in_batches([len(text.ids) for text in texts]):
        inquiries = []
        for place in group:
            row, choice = 0, int(logits[place].argmax())
            if model.head != "one_of":
                row, choice = choice, 1
                if model.head == "yes_or_no":
                    choice = int(logits[place][0] > 0)
            inquiries.append(Inquiry(texts[place], (row,), (choice,), ("",), (0,)))
        batch = model.batch(inquiries)
        with model.lock, torch.enable_grad():
            features = model.features(batch).requires_grad_()
            parts = task.parts(model.logits(features, batch), batch, model.backend)
            [gradients] = torch.autograd.grad(parts.sum(), features)
        rows = model.backend.to_numpy(gradients)
        for row, place in enumerate(group):
            found[place] = rows[row, : len(texts[place].ids)].copy()
    return found


def _embedding_table(model: HFSequenceClassifier) -> tuple[list[str], np.ndarray]:
    """Tokens that may stand in a text, and their embeddings (tokens, dim)."""
    special = set(model.tokenizer.all_special_ids)
    names = model.tokenizer.convert_ids_to_tokens(list(range(model.vocabulary)))
    kept = [
        number
        for number, name in enumerate(names)
        if name and number not in special and not name.startswith("[unused")
    ]
    rows = model.backend.to_numpy(model.features_of(kept))[0]
    return [names[number] for number in kept], rows
