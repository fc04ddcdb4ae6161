"""Extractive question answering: the part of a context that answers a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lit_plugins.errors import InputError
from lit_plugins.models.encoded import Encoded, EncoderBatch, Inquiry
from lit_plugins.models.hf_encoder import HFEncoder
from lit_plugins.models.hf_sequence import field_of, probabilities
from lit_plugins.tasks import SpanQA

OVERLAP = 4  # a window over a long context shares one part in so many of its tokens with the next
LONGEST_ANSWER = 30  # tokens
START, END = 0, 1
NO_ANSWER = ""


@dataclass(frozen=True)
class Answer:
    """An answer and where it is.

    text: As the context has it; empty for no answer. score: The probability of its start times
    that of its end, in its window. begin, end: Characters of the context. window: In which it was
    found; first, last: tokens there, `last` included.
    """

    text: str
    score: float
    begin: int
    end: int
    window: int
    first: int
    last: int


class HFQuestionAnswerer(HFEncoder):
    """Finds answers. Long contexts are read in windows that overlap.

    Start and end are chosen among the context's tokens and, unless `no_answer=off`, the first token
    of all, which stands for "no answer" (Devlin et al. 2018, arXiv 1810.04805, section 4.3).
    """

    task = SpanQA
    fields = ("question", "context")
    sample = ("One two?", "Three, four.")

    def choices(self, output: Any, batch: EncoderBatch) -> torch.Tensor:
        """See HFEncoder."""
        ends = torch.stack([output.start_logits, output.end_logits], dim=1)
        if batch.allowed is not None:
            allowed = torch.as_tensor(batch.allowed, device=ends.device)
            ends = ends.masked_fill(~allowed[:, None], float("-inf"))
        rows = torch.as_tensor(batch.rows, device=ends.device)
        return ends.gather(1, rows[..., None].expand(-1, -1, ends.shape[-1]))

    def windows_of(self, example: Mapping[str, Any]) -> list[Encoded]:
        """The tokens of question and context, in as many windows as it takes."""
        texts = [field_of(example, name, self.fields) for name in self.fields]
        question = len(
            self.tokenizer(str(texts[0]), add_special_tokens=False, verbose=False).input_ids
        )
        room = self.max_length - question - 4
        return self.encode(texts, cut="only_second", stride=max(1, room // OVERLAP))

    def allowed(self, text: Encoded) -> np.ndarray:
        """Where an answer may begin and end, (tokens,)."""
        found = np.array([owner == 1 for owner in text.fields], bool)
        if self.options.no_answer:
            found[0] = True
        return found

    def answer(self, examples: Sequence[Mapping[str, Any]], k: int = 1) -> list[list[Answer]]:
        """The k best answers to each example's question, best first; "no answer" may be one."""
        return [
            self._best(example, windows, ends, k) for example, windows, ends in self._read(examples)
        ]

    def _read(self, examples: Sequence[Mapping[str, Any]]) -> list[tuple[Any, list, list]]:
        """Each example with its windows and their log-probabilities (2, tokens)."""
        each = [self.windows_of(example) for example in examples]
        flat = [window for windows in each for window in windows]
        ends: list[np.ndarray] = [np.zeros(0)] * len(flat)
        for group, _, output in self.run(flat):
            both = self.backend.to_numpy(torch.stack([output.start_logits, output.end_logits], 1))
            for row, place in enumerate(group):
                own = both[row, :, : len(flat[place].ids)]
                ends[place] = np.where(self.allowed(flat[place]), own, -np.inf)
        made, first = [], 0
        for example, windows in zip(examples, each, strict=True):
            made.append((example, windows, ends[first : first + len(windows)]))
            first += len(windows)
        return made

    def _best(
        self,
        example: Mapping[str, Any],
        windows: Sequence[Encoded],
        ends: Sequence[np.ndarray],
        k: int,
    ) -> list[Answer]:
        found: dict[tuple[int, int], Answer] = {}
        nothing: Answer | None = None
        for number, (window, logits) in enumerate(zip(windows, ends, strict=True)):
            if not self.allowed(window).any():
                continue
            start, end = (probabilities("one_of", row[None])[0] for row in logits)
            if self.options.no_answer:
                none = float(start[0] * end[0])
                # Nothing is the answer only if no window has one.
                if nothing is None or none < nothing.score:
                    nothing = Answer(NO_ANSWER, none, 0, 0, number, 0, 0)
            place = window.places(1)
            scores = np.triu(np.outer(start[place], end[place]))
            scores -= np.triu(scores, LONGEST_ANSWER)
            flat = scores.ravel()
            for cell in np.argsort(-flat, kind="stable")[: 4 * k]:
                first, last = (int(one) + place.start for one in divmod(int(cell), scores.shape[1]))
                begin, stop = window.spans[first][0], window.spans[last][1]
                score = float(flat[cell])
                known = found.get((begin, stop))
                if score > 0 and (known is None or known.score < score):
                    text = example["context"][begin:stop].strip()
                    found[begin, stop] = Answer(text, score, begin, stop, number, first, last)
        answers = [*found.values(), *([nothing] if nothing else [])]
        answers.sort(key=lambda one: -one.score)
        if not answers:
            raise InputError("The context is empty: there is nothing that could be the answer.")
        return answers[:k]

    def inquiries(
        self,
        examples: Sequence[Mapping[str, Any]],
        targets: Sequence[str | None],
        spans: Sequence[str | None],
        every: bool = False,
    ) -> list[Inquiry]:
        """For each example: an answer, as text of the context (None: the model's own).

        A span is `start` or `end`, for one end of the answer alone; None for both. Positive scores
        speak for the answer beginning and ending just there.
        """
        read = self._read(examples)
        found = []
        for (example, windows, ends), target, span in zip(read, targets, spans, strict=True):
            if span not in (None, "start", "end"):
                raise InputError(
                    f"span is {span!r:.80}: expected start or end, or nothing for both."
                )
            if target is None:
                [answer] = self._best(example, windows, ends, 1)
            else:
                answer = self._find(example, windows, ends, target)
            rows = (START, END) if span is None else (START if span == "start" else END,)
            text = windows[answer.window]
            both = (answer.first, answer.last)
            shown = answer.text or "no answer"
            found.append(
                Inquiry(
                    text,
                    rows=rows,
                    targets=tuple(both[row] for row in rows),
                    names=tuple(f"{('start', 'end')[row]} of {shown}" for row in rows),
                    numbers=tuple(both[row] for row in rows),
                    also=((START, both[START]), (END, both[END])),
                    foil=self._foil(example, text, rows),
                    allowed=self.allowed(text),
                )
            )
        return found

    def _find(
        self,
        example: Mapping[str, Any],
        windows: Sequence[Encoded],
        ends: Sequence[np.ndarray] | None,
        text: str,
    ) -> Answer:
        """A given answer where the model finds it likeliest. Raises InputError."""
        context = example["context"]
        if text in (NO_ANSWER, "no answer"):
            if not self.options.no_answer:
                raise InputError("This model was loaded with no_answer=off: it always answers.")
            return Answer(NO_ANSWER, 0.0, 0, 0, 0, 0, 0)
        best: Answer | None = None
        begin = context.find(text)
        while begin >= 0 and text:
            stop = begin + len(text)
            for number, window in enumerate(windows):
                inside = [
                    place
                    for place in range(window.places(1).start, window.places(1).stop)
                    if window.spans[place][0] < stop and window.spans[place][1] > begin
                ]
                whole = inside and window.spans[inside[0]][0] <= begin + 1 and (
                    window.spans[inside[-1]][1] >= stop
                )  # fmt: skip
                if not whole:
                    continue
                first, last = inside[0], inside[-1]
                score = (
                    0.0 if ends is None else float(ends[number][0][first] + ends[number][1][last])
                )
                if best is None or score > best.score:
                    best = Answer(text, score, begin, stop, number, first, last)
            begin = context.find(text, begin + 1)
        if best is None:
            raise InputError(
                f"The answer {text!r:.80} is not in the context, or is longer than a window. "
                "Expected a part of the context, written the same."
            )
        return best

    def _foil(
        self, example: Mapping[str, Any], text: Encoded, rows: Sequence[int]
    ) -> Callable[[str], tuple[int, ...]]:
        def find(name: str) -> tuple[int, ...]:
            other = self._find(example, [text], None, name)
            return tuple((other.first, other.last)[row] for row in rows)

        return find
