"""Zero-shot classification: whether a text entails a sentence about each label.

Yin et al. 2019, arXiv 1909.00161: a model of natural language inference gets the text as premise
and `hypothesis_template`, with the label in it, as hypothesis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lit_plugins.errors import InputError, SourceError
from lit_plugins.models.encoded import Encoded, EncoderBatch, Inquiry
from lit_plugins.models.hf_encoder import HFEncoder
from lit_plugins.models.hf_sequence import field_of, no_spans, probabilities, unknown_label
from lit_plugins.sources import ModelOptions
from lit_plugins.tasks import SequenceLabel


class HFZeroShotClassifier(HFEncoder):
    """Labels named at will, over a model whose config has a label that begins with "entail".

    Explained is the model's own number: that the text entails the label's hypothesis, rather than
    the other labels of inference. The hypothesis gets no scores unless `template=keep` is asked
    for.
    """

    task = SequenceLabel
    fields = ("text", "hypothesis")
    sample = ("One two, three.", "Four.")
    deletable = True
    reads_first_row = True

    def __init__(
        self, model: Any, tokenizer: Any, options: ModelOptions, description: str = "model"
    ):
        super().__init__(model, tokenizer, options, description)
        self.entailment = _find(self.labels, "entail")
        if self.entailment is None:
            raise SourceError(
                f"{description} cannot classify zero-shot: none of its labels "
                f"({', '.join(self.labels)[:200]}) begins with 'entail'. Expected a model of "
                "natural language inference; else leave task=zero-shot out."
            )
        self.contradiction = _find(self.labels, "contra")

    optional_fields = ("candidate_labels", "hypothesis_template")

    @property
    def example_fields(self) -> tuple[str, ...]:
        """See HFEncoder."""
        return ("text",)

    def choices(self, output: Any, batch: EncoderBatch) -> torch.Tensor:
        """See HFEncoder."""
        return output.logits[:, None].expand(-1, batch.rows.shape[1], -1)

    def candidates(self, example: Mapping[str, Any]) -> tuple[str, ...]:
        """The labels of an example, or the model's option. Raises InputError."""
        found = example.get("candidate_labels") or self.options.candidate_labels
        found = (
            tuple(part.strip() for part in found.split(",")) if isinstance(found, str) else found
        )
        labels = tuple(found) if isinstance(found, Sequence) else (found,)
        if not labels or not all(isinstance(one, str) and one.strip() for one in labels):
            raise InputError(
                f"candidate_labels is {list(labels)!r:.80}: expected one label at least, each of "
                "them text. Give them in the example, or as the model's option candidate_labels."
            )
        if twice := [one for one in labels if labels.count(one) > 1]:
            raise InputError(f"candidate_labels holds {twice[0]!r:.80} twice. Drop one.")
        return labels

    def pair(self, example: Mapping[str, Any], label: str) -> Encoded:
        """The tokens of the text and of a label's hypothesis. Raises InputError."""
        template = example.get("hypothesis_template") or self.options.hypothesis_template
        if not isinstance(template, str) or template.count("{}") != 1:
            raise InputError(
                f"hypothesis_template is {template!r:.80}: it must hold {{}} once, where the label "
                "goes, as in 'This text is about {}.'"
            )
        text = field_of(example, "text", ("text",))
        [encoded] = self.encode([text, template.replace("{}", label)], cut="only_first")
        return encoded

    def entailments(self, examples: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
        """For each example the logits of inference of each of its labels: (labels, 3)."""
        pairs, owners = [], []
        for number, example in enumerate(examples):
            for label in self.candidates(example):
                pairs.append(self.pair(example, label))
                owners.append(number)
        logits = np.zeros((len(pairs), len(self.labels)), np.float32)
        for group, _, output in self.run(pairs):
            logits[group] = self.backend.to_numpy(output.logits)
        return [logits[np.asarray(owners) == number] for number in range(len(examples))]

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Of each label, from its logits of inference (labels, 3).

        The labels' entailments against each other, which sum to 1; with
        `problem_type=multi_label_classification` each label's entailment against its contradiction.
        """
        if self.options.problem_type != "multi_label_classification":
            return probabilities("one_of", logits[:, self.entailment])
        against = logits[:, self._other]
        return probabilities("any_of", logits[:, self.entailment] - against)

    @property
    def _other(self) -> int:
        if self.contradiction is not None:
            return self.contradiction
        return -1 if self.entailment == 0 else 0

    def inquiries(
        self,
        examples: Sequence[Mapping[str, Any]],
        targets: Sequence[str | None],
        spans: Sequence[str | None],
        every: bool = False,
    ) -> list[Inquiry]:
        """For each example: one of its labels, or the likeliest.

        Each label is a text of its own, so `every` has to be asked for label by label.
        """
        no_spans(spans)
        if every:
            raise InputError("each: a zero-shot label is a text of its own. Ask label by label.")
        wanted = [number for number, target in enumerate(targets) if target is None]
        likeliest = dict(
            zip(
                wanted,
                (
                    int(logits[:, self.entailment].argmax())
                    for logits in self.entailments([examples[number] for number in wanted])
                ),
                strict=True,
            )
        )
        found = []
        for number, (example, target) in enumerate(zip(examples, targets, strict=True)):
            labels = self.candidates(example)
            name = labels[likeliest[number]] if target is None else target
            if name not in labels:
                raise unknown_label(name, labels)
            text = self.pair(example, name)
            hypothesis = text.places(1)
            found.append(
                Inquiry(
                    text,
                    rows=(0,),
                    targets=(self.entailment or 0,),
                    names=(name,),
                    numbers=(labels.index(name),),
                    fixed=tuple(range(hypothesis.start, hypothesis.stop)),
                    foil=self._foil(example, name),
                )
            )
        return found

    def _foil(self, example: Mapping[str, Any], name: str) -> Callable[[str], Encoded]:
        def find(other: str) -> Encoded:
            labels = self.candidates(example)
            if other not in labels:
                raise unknown_label(other, [one for one in labels if one != name])
            return self.pair(example, other)

        return find


def _find(labels: Sequence[str], begins: str) -> int | None:
    return next((at for at, name in enumerate(labels) if name.lower().startswith(begins)), None)
