"""Classifiers of a text or a pair of texts: one of several labels, several at once, or a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lit_plugins.errors import InputError
from lit_plugins.models.encoded import Encoded, EncoderBatch, Inquiry
from lit_plugins.models.given_pieces import with_given_pieces
from lit_plugins.models.hf_encoder import HFEncoder
from lit_plugins.models.kinds import Head, head_of
from lit_plugins.sources import ModelOptions
from lit_plugins.tasks import OUTPUTS, Output, SequenceLabel, YesOrNo
from lit_plugins.toml_file import did_you_mean

YES, NO = 1, 0
ALSO = 64  # labels whose scores are computed along with those asked for


class HFSequenceClassifier(HFEncoder):
    """A label, labels or a number for a text, or with `fields` of two for a pair.

    Attributes:
        head: `one_of` labels, softmax; `any_of` them, a sigmoid each; `yes_or_no`: one logit,
            sigmoid; `number`: regression.

    A label of a head that is not `one_of` may be asked for as `not LABEL`, too: what speaks
    against it.

    """

    deletable = True
    reads_first_row = True

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        options: ModelOptions,
        description: str = "model",
        fields: tuple[str, ...] = ("text",),
    ):
        self.fields = fields
        self.sample = ("One two, three.", "Four.")[: len(fields)]
        self.head: Head = head_of(
            getattr(model.config, "problem_type", None), model.config.num_labels, options
        )
        self.task = SequenceLabel if self.head == "one_of" else YesOrNo
        super().__init__(model, tokenizer, options, description)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """See HFEncoder."""
        return ("logit",) if self.head == "number" else OUTPUTS

    def choices(self, output: Any, batch: EncoderBatch) -> torch.Tensor:
        """See HFEncoder."""
        logits = output.logits
        if self.head == "one_of":
            return logits[:, None].expand(-1, batch.rows.shape[1], -1)
        rows = logits.gather(1, torch.as_tensor(batch.rows, device=logits.device))
        return torch.stack([-rows, rows], dim=-1)

    def logits_of(self, texts: Sequence[Encoded]) -> np.ndarray:
        """The head's logits, (texts, labels)."""
        found = np.zeros((len(texts), len(self.labels)), np.float32)
        for group, _, output in self.run(texts):
            found[group] = self.backend.to_numpy(output.logits)
        return found

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Of each label: they sum to 1 with a head of `one_of`. Logits themselves for a number."""
        return probabilities(self.head, logits)

    def texts_of(self, example: Mapping[str, Any]) -> Encoded:
        """The tokens of an example's fields; what is too long loses its end. Raises InputError."""
        [encoded] = self.encode([field_of(example, name, self.fields) for name in self.fields])
        return with_given_pieces(self, encoded, example)

    def inquiries(
        self,
        examples: Sequence[Mapping[str, Any]],
        targets: Sequence[str | None],
        spans: Sequence[str | None],
        every: bool = False,
    ) -> list[Inquiry]:
        """For each example: a label (None: the likeliest), or with `every` all labels, one each."""
        no_spans(spans)
        texts = [self.texts_of(example) for example in examples]
        likeliest = np.zeros(len(texts), int)
        if not every and any(target is None for target in targets):
            likeliest = self.logits_of(texts).argmax(1)
        exclusive = self.head == "one_of"
        found = []
        for text, target, best in zip(texts, targets, likeliest, strict=True):
            if target is None and every:
                asked = [self._choice(label) for label in self.labels]
            else:
                asked = [self._choice(self.labels[best] if target is None else target)]
            found.append(
                Inquiry(
                    text,
                    rows=tuple(row for row, _ in asked),
                    targets=tuple(choice for _, choice in asked),
                    names=tuple(self._name(*one) for one in asked),
                    numbers=tuple(at for _, at in asked)
                    if exclusive
                    else tuple(at for at, _ in asked),
                    also=tuple(self._choice(label) for label in self.labels[:ALSO]),
                    foil=self._foil(asked),
                )
            )
        return found

    def _choice(self, name: str) -> tuple[int, int]:
        """Row and choice of a label's name. Raises InputError."""
        label, choice = name, YES
        if name not in self.labels and self.head != "one_of" and name.startswith("not "):
            label, choice = name.removeprefix("not "), NO
        if label not in self.labels:
            known = list(self.labels)
            if self.head != "one_of":
                known += [f"not {one}" for one in self.labels]
            raise unknown_label(name, known)
        number = self.labels.index(label)
        return (0, number) if self.head == "one_of" else (number, choice)

    def _name(self, row: int, choice: int) -> str:
        if self.head == "one_of":
            return self.labels[choice]
        return self.labels[row] if choice == YES else f"not {self.labels[row]}"

    def _foil(self, asked: Sequence[tuple[int, int]]) -> Callable[[str], tuple[int, ...]]:
        def find(name: str) -> tuple[int, ...]:
            row, choice = self._choice(name)
            if self.head != "one_of" and any(one != row for one, _ in asked):
                raise InputError(
                    f"{name!r:.80} does not exclude what is explained, so it is no alternative to "
                    "it: this model's labels are independent. Expected no foil, or "
                    f"{self._name(asked[0][0], 1 - asked[0][1])!r}."
                )
            return (choice,) * len(asked)

        return find


def probabilities(head: Head, logits: np.ndarray) -> np.ndarray:
    """Logits (…, labels) as the head means them."""
    logits = logits.astype(np.float64)
    if head == "number":
        return logits
    if head == "one_of":
        shifted = np.exp(logits - logits.max(-1, keepdims=True))
        return shifted / shifted.sum(-1, keepdims=True)
    return np.exp(-np.logaddexp(0, -logits))


def field_of(example: Mapping[str, Any], name: str, expected: Sequence[str]) -> Any:
    """A field that every example has. Raises InputError."""
    if name not in example:
        got = ", ".join(sorted(key for key in example if not key.startswith("_"))) or "none"
        raise InputError(
            f"The example has no {name!r}. Expected the fields {', '.join(expected)}. "
            f"Got: {got:.200}."
        )
    return example[name]


def no_spans(spans: Sequence[str | None]) -> None:
    """Raises InputError where a part is asked for of what has no parts."""
    if asked := [span for span in spans if span is not None]:
        raise InputError(
            f"span is {asked[0]!r:.80}, but a label is of the whole text. Leave it out."
        )


def unknown_label(name: Any, known: Sequence[str]) -> InputError:
    """The error for a label that there is not."""
    hint = did_you_mean(str(name), known)
    shown = ", ".join(known[:40]) + (", …" if len(known) > 40 else "")
    return InputError(f"There is no label {name!r:.80}.{hint} Available: {shown}.")
