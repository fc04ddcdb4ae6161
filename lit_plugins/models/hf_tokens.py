"""Token classification: a tag for each word, and entities of several words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lit_plugins.errors import InputError
from lit_plugins.models.encoded import NO_FIELD, Encoded, EncoderBatch, Inquiry, token_offsets
from lit_plugins.models.hf_encoder import HFEncoder
from lit_plugins.models.hf_sequence import field_of, probabilities, unknown_label
from lit_plugins.tasks import TokenLabel

OVERLAP = 4  # a window shares one part in so many of its tokens with the next
_WORDS = re.compile(r"words? (\d{1,9})(?:-(\d{1,9}))?")


@dataclass(frozen=True)
class Word:
    """A word of a text and its tag.

    `begin`, `end`: characters of the text; `window`, `tokens`: where the model saw it best, and as
    which tokens; `scores`: probability of each tag.
    """

    text: str
    begin: int
    end: int
    window: int
    tokens: tuple[int, ...]
    scores: np.ndarray

    @property
    def tag(self) -> int:
        """The likeliest tag."""
        return int(self.scores.argmax())


@dataclass(frozen=True)
class Entity:
    """Words `[first, last)` that are one thing, such as a name: its label without B- and I-."""

    label: str
    first: int
    last: int
    begin: int
    end: int
    score: float


@dataclass(frozen=True)
class Tagged:
    """A text with the tag of each word; long texts have several windows."""

    text: str
    windows: tuple[Encoded, ...]
    words: tuple[Word, ...]


class HFTokenClassifier(HFEncoder):
    """Tags words. Each is read in the window in which it is farthest from an edge."""

    task = TokenLabel
    fields = ("text",)
    optional_fields = ("tokens",)

    def choices(self, output: Any, batch: EncoderBatch) -> torch.Tensor:
        """See HFEncoder."""
        rows = torch.as_tensor(batch.rows, device=output.logits.device)
        return output.logits.gather(1, rows[..., None].expand(-1, -1, output.logits.shape[-1]))

    def tag(self, examples: Sequence[Mapping[str, Any]]) -> list[Tagged]:
        """Tags for each example's words: those of `tokens`, if it has them, else of `text`."""
        texts, given = zip(*(words_of(example) for example in examples), strict=True)
        windows: list[Encoded] = []
        owners: list[int] = []
        for number, example in enumerate(examples):
            found = self.windows_of(example)
            windows += found
            owners += [number] * len(found)
        scores: list[np.ndarray] = [np.zeros(0)] * len(windows)
        for group, _, output in self.run(windows):
            made = probabilities("one_of", self.backend.to_numpy(output.logits))
            for row, place in enumerate(group):
                scores[place] = made[row, : len(windows[place].ids)]
        tagged = []
        for number, (text, spans) in enumerate(zip(texts, given, strict=True)):
            own = [place for place, owner in enumerate(owners) if owner == number]
            mine = [windows[place] for place in own]
            words = self._words(
                text, spans or _own_words(text, mine), mine, [scores[place] for place in own]
            )
            tagged.append(Tagged(text, tuple(mine), words))
        return tagged

    def windows_of(self, example: Mapping[str, Any]) -> list[Encoded]:
        """The tokens of an example, in as many windows as it takes. Raises InputError."""
        text, _ = words_of(example)
        return self.encode([text], stride=max(1, self.max_length // OVERLAP))

    def _words(
        self,
        text: str,
        spans: Sequence[tuple[int, int]],
        windows: Sequence[Encoded],
        scores: Sequence[np.ndarray],
    ) -> tuple[Word, ...]:
        found = []
        for begin, end in spans:
            best, window, tokens = -1, 0, ()
            for number, one in enumerate(windows):
                places = tokens_of(one, begin, end)
                if not places:
                    continue
                own = one.places(0)
                # Half a word, at a window's edge, is a whole one in the next.
                before = len(text) if number == 0 else places[0] - own.start
                behind = len(text) if number == len(windows) - 1 else own.stop - 1 - places[-1]
                if min(before, behind) > best:
                    best, window, tokens = min(before, behind), number, places
            made = self._aggregate(scores[window][list(tokens)]) if tokens else self._nothing()
            found.append(Word(text[begin:end], begin, end, window, tokens, made))
        return tuple(found)

    def _nothing(self) -> np.ndarray:
        """The scores of a word that the tokenizer makes no token of."""
        ignored = [name in self.options.ignored_labels for name in self.labels]
        scores = np.array(ignored if any(ignored) else [True] * len(ignored), float)
        return scores / scores.sum()

    def _aggregate(self, scores: np.ndarray) -> np.ndarray:
        """A word's scores (tags,) from those of its pieces (pieces, tags)."""
        how = self.options.aggregation
        if how == "average":
            return scores.mean(0)
        return scores[scores.max(1).argmax() if how == "max" else 0]

    def entities(self, tagged: Tagged) -> list[Entity]:
        """Neighbouring words of one label, ignored labels left out; B- begins a new one."""
        found: list[Entity] = []
        for place, word in enumerate(tagged.words):
            tag = self.labels[word.tag]
            prefix, label = split_tag(tag)
            if tag in self.options.ignored_labels or label in self.options.ignored_labels:
                continue
            last = found[-1] if found else None
            score = float(word.scores.max())
            if (
                last
                and last.last == place
                and last.label == label
                and prefix not in ("B", "S", "U")
            ):
                count = last.last - last.first
                mean = (last.score * count + score) / (count + 1)
                found[-1] = Entity(label, last.first, place + 1, last.begin, word.end, mean)
            else:
                found.append(Entity(label, place, place + 1, word.begin, word.end, score))
        return found

    def inquiries(
        self,
        examples: Sequence[Mapping[str, Any]],
        targets: Sequence[str | None],
        spans: Sequence[str | None],
        every: bool = False,
    ) -> list[Inquiry]:
        """For each example: the tags of a part of the text, a word or an entity.

        A span is that part as text, or `word N`, or `words N-M` (from 1); None for the first
        entity, or, if there is none, the first word. A target is the tag asked for, at each of the
        part's words; None for the tags predicted. `every` has no effect here: `each` gives one map
        a word.
        """
        found = []
        for tagged, target, span in zip(self.tag(examples), targets, spans, strict=True):
            if not tagged.words:
                raise InputError("The text is empty: it has no word whose tag could be explained.")
            if target is not None and target not in self.labels:
                raise unknown_label(target, self.labels)
            first, last = self._part(tagged, span)
            words = [word for word in tagged.words[first:last] if word.tokens]
            if not words:
                raise InputError(
                    f"{tagged.words[first].text!r:.40} makes no token of this model's: it has no "
                    "tag of its own. Choose another part."
                )
            window, rows = self._window(tagged, words)
            text = tagged.windows[window]
            tags = [word.tag if target is None else self.labels.index(target) for word in words]
            found.append(
                Inquiry(
                    text,
                    rows=rows,
                    targets=tuple(tags),
                    names=tuple(
                        f"{self.labels[tag]} of {word.text}"
                        for tag, word in zip(tags, words, strict=True)
                    ),
                    numbers=rows,
                    foil=self._foil(len(rows)),
                )
            )
        return found

    def _part(self, tagged: Tagged, span: str | None) -> tuple[int, int]:
        """Words `[first, last)` of a part of the text. Raises InputError."""
        if span is None:
            entities = self.entities(tagged)
            return (entities[0].first, entities[0].last) if entities else (0, 1)
        if places := _WORDS.fullmatch(span):
            first, last = int(places[1]), int(places[2] or places[1])
            if not 1 <= first <= last <= len(tagged.words):
                raise InputError(
                    f"span is {span!r:.40}, but the text has words 1 to {len(tagged.words)}."
                )
            return first - 1, last
        begin = tagged.text.find(span.strip()) if span.strip() else -1
        end = begin + len(span.strip())
        inside = [
            place
            for place, word in enumerate(tagged.words)
            if begin >= 0 and word.begin < end and word.end > begin
        ]
        if not inside:
            raise InputError(
                f"span {span!r:.80} is not in the text. Expected a part of it, written the same, "
                "or 'word 3', or 'words 3-4'."
            )
        return inside[0], inside[-1] + 1

    def _window(self, tagged: Tagged, words: Sequence[Word]) -> tuple[int, tuple[int, ...]]:
        """A window that holds all the words, and the first piece of each in it.

        A tag is explained where it is read first, whatever the aggregation.
        """
        for number in dict.fromkeys(
            [*(word.window for word in words), *range(len(tagged.windows))]
        ):
            each = [tokens_of(tagged.windows[number], word.begin, word.end) for word in words]
            if all(each):
                return number, tuple(tokens[0] for tokens in each)
        raise InputError(
            f"The part explained ({words[0].text!r:.40} … {words[-1].text!r:.40}) does not fit "
            "into one window of the model. Choose a shorter part, or raise max_length."
        )

    def _foil(self, count: int) -> Callable[[str], tuple[int, ...]]:
        def find(name: str) -> tuple[int, ...]:
            if name not in self.labels:
                raise unknown_label(name, self.labels)
            return (self.labels.index(name),) * count

        return find


def split_tag(tag: str) -> tuple[str, str]:
    """A tag's prefix (B, I, E, S, L, U, or nothing) and label: `B-CITY` -> `B`, `CITY`."""
    prefix, dash, label = tag.partition("-")
    return (prefix, label) if dash and prefix in ("B", "I", "E", "S", "L", "U") else ("", tag)


def words_of(example: Mapping[str, Any]) -> tuple[str, list[tuple[int, int]]]:
    """The text of an example, and where the words of its `tokens` are in it; none if not given.

    Raises InputError.
    """
    tokens, text = example.get("tokens"), example.get("text")
    if not tokens:
        return field_of(example, "text", ("text", "tokens")), []
    if not isinstance(tokens, Sequence) or isinstance(tokens, str):
        raise InputError(f"tokens is {tokens!r:.60}: expected a list of words.")
    words = list(tokens)
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise InputError(f"tokens is {words!r:.80}: expected words, each of them text.")
    if text is None or text == "":
        text = " ".join(words)
    spans = token_offsets(text, words) if isinstance(text, str) else []
    covered = "".join(text[begin:end] for begin, end in spans)
    # A text that was edited counts, not the words that it had before.
    same = len(spans) == len(words) and covered == "".join(str(text).split())
    return text, spans if same else []


def tokens_of(window: Encoded, begin: int, end: int) -> tuple[int, ...]:
    """The tokens of a window that characters `[begin, end)` of the text are in."""
    return tuple(
        place
        for place, (owner, (first, last)) in enumerate(
            zip(window.fields, window.spans, strict=True)
        )
        if owner != NO_FIELD and first < end and last > begin
    )


def _own_words(text: str, windows: Sequence[Encoded]) -> list[tuple[int, int]]:
    """Where the words are that the tokenizer divides a text into."""
    found: dict[int, tuple[int, int]] = {}
    for window in windows:
        for owner, word, (begin, end) in zip(
            window.fields, window.words, window.spans, strict=True
        ):
            if owner != NO_FIELD:
                first, last = found.get(word, (begin, end))
                found[word] = min(first, begin), max(last, end)
    spans = []
    for begin, end in found.values():
        # A tokenizer may count the space before a word as part of it.
        begin += len(text[begin:end]) - len(text[begin:end].lstrip())
        if begin < end:
            spans.append((begin, end))
    return sorted(spans)
