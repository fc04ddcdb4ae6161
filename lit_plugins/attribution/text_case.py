"""From a prompt, its target and options to a Case: what is explained, and by which parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from lit_plugins.attribution import baselines
from lit_plugins.attribution.bridge import Branch, Scorer
from lit_plugins.attribution.case import Case
from lit_plugins.attribution.deletion import Deletion
from lit_plugins.attribution.engine import Built
from lit_plugins.attribution.explanation import Segment
from lit_plugins.attribution.options import Options
from lit_plugins.attribution.perturbation import players_of
from lit_plugins.attribution.segments import segments
from lit_plugins.attribution.watch import Watch
from lit_plugins.errors import InputError
from lit_plugins.models.language_model import Batch, LanguageModel, Text
from lit_plugins.models.tokens import SPACE, continuation
from lit_plugins.tasks import CausalLM


@dataclass(frozen=True)
class Question:
    """One text and the tokens of it that are explained, with their weights (tokens,)."""

    text: Text
    mask: np.ndarray
    inputs: Mapping[str, str] = field(default_factory=dict)  # what was given

    @property
    def asked(self) -> np.ndarray:
        """Places of the tokens explained. The first token of a text is never predicted."""
        return np.flatnonzero(self.mask[1:]) + 1

    @property
    def choices(self) -> tuple[int, ...]:
        """The same as plain numbers."""
        return tuple(self.asked.tolist())

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each of them."""
        return tuple(float(one) for one in self.mask[self.asked])


@dataclass(frozen=True)
class Contrast:
    """A foil text that could have stood in the place of the target, from `place` on."""

    place: int
    target: tuple[int, ...]
    foil: tuple[int, ...]
    shown: str

    @property
    def one_token(self) -> bool:
        """Whether both are one token: then one pass gives both scores."""
        return len(self.target) == len(self.foil) == 1


def contrast(model: LanguageModel, question: Question, foil: str) -> Contrast:
    """The foil's tokens, and where they differ from the target's. Raises InputError."""
    asked = question.asked
    if not len(asked) or np.any(np.diff(asked) != 1) or len(set(question.mask[asked])) != 1:
        raise InputError(
            "A foil needs one run of target tokens that it could have stood for. Select one part "
            "of the target."
        )
    target = question.text.ids[asked[0] : asked[-1] + 1]
    shown = model.shown_tokens(question.text)
    # Who selects "▁Paris" and writes "London" means a word in the same place.
    if shown[asked[0]].startswith(SPACE) and not foil[0].isspace():
        foil = " " + foil
    ids = tuple(continuation(foil, model.tokenizer.encode, model.tokenizer.pieces))
    if asked[0] + len(ids) > model.max_length:
        raise InputError(
            f"The foil has {len(ids)} tokens behind {asked[0]}, and max_length is "
            f"{model.max_length}. Expected a shorter text."
        )
    common = 0
    while common < min(len(ids), len(target)) and ids[common] == target[common]:
        common += 1
    if common in (len(ids), len(target)):
        raise InputError(
            f"The foil {foil!r:.80} "
            + ("makes no tokens" if not ids else "is the target itself, or one begins the other")
            + ". Expected a text that differs from the target in a token at least."
        )
    return Contrast(int(asked[0]) + common, target[common:], ids[common:], foil)


def find_segments(
    model: LanguageModel, question: Question, options: Options, stop: int
) -> list[Segment]:
    """The segments that get a score, of the tokens before `stop`. Raises InputError."""
    found = all_segments(model, question.text, options, stop)
    if not found and options.segment == "regex":
        raise InputError(
            f"pattern {options.pattern!r:.100} matches nothing that can be explained: neither in "
            "the prompt nor in the target before what is explained. Expected a regular expression "
            "that matches a visible part."
        )
    return found


def all_segments(model: LanguageModel, text: Text, options: Options, stop: int) -> list[Segment]:
    """The segments of the tokens before `stop`; none where a pattern matches nothing."""
    pieces = model.plain_tokens(text)
    unit = options.segment or "token"
    found: list[Segment] = []
    for begin, end, scaffolding in (
        (0, text.content.start, True),
        (text.content.start, text.content.stop, False),
        (text.content.stop, text.target_start, True),
        (text.target_start, len(text.ids), False),
    ):
        end = min(end, stop)
        if begin >= end or (scaffolding and (options.template == "hold" or unit == "regex")):
            continue
        if scaffolding and unit != "token":
            found.append(Segment(begin, end, "".join(pieces[begin:end])))
        else:
            found += segments(pieces, unit, begin, end, options.pattern)
    return found


def build(
    model: LanguageModel,
    questions: Sequence[Question],
    options: Options,
    watch: Watch,
    tokens_per_pass: int,
    also: Sequence[Sequence[int]] | None = None,
) -> Built:
    """The Case of some texts.

    `also`: places of tokens whose scores are computed in the same pass, for later questions.
    """
    task = CausalLM(options.output, options.each)
    against: Contrast | None = None
    if options.foil is not None:
        [question] = questions
        against = contrast(model, question, options.foil)
    texts = [question.text for question in questions]
    masks = [question.mask for question in questions]
    shown: list[str | None] = [against.shown if against else None] * len(texts)
    if against and not against.one_token:
        return _two_texts(model, questions[0], against, task, options, watch, tokens_per_pass)
    if against:
        masks = [np.where(np.arange(len(masks[0])) == against.place, masks[0], 0)]
    batch = model.encode(texts, masks, also)
    if against:
        # One row is asked; the others, if any, are compared with themselves.
        at = batch.rows == against.place - 1
        batch = replace(batch, foils=np.where(at, against.foil[0], batch.targets).astype(np.int32))
    per_pass = max(1, tokens_per_pass // batch.token_ids.shape[1])
    if options.runner_up:
        others = Scorer(model, task, [Branch(batch)], per_pass, watch).runner_up()
        batch = replace(batch, foils=others.astype(np.int32))
        shown = [_foils_shown(model, batch, row) for row in range(len(texts))]
    scorer = Scorer(model, task, [Branch(batch)], per_pass, watch)
    asked = [replace(question, mask=mask) for question, mask in zip(questions, masks, strict=True)]
    case, found = _fill(model, scorer, scorer.features(), asked, options)

    deletions = [
        Deletion(
            model, task, one.text.ids, one.mask, found[row],
            None if batch.foils is None else batch.foils[row], scorer,
        )
        for row, one in enumerate(asked)
    ]  # fmt: skip
    case.without = lambda row, kept: deletions[row].outputs(kept)
    return Built(case, found, shown)


def _two_texts(
    model: LanguageModel,
    question: Question,
    against: Contrast,
    task: CausalLM,
    options: Options,
    watch: Watch,
    tokens_per_pass: int,
) -> Built:
    """Target and foil as two continuations of the tokens before the place where they part."""
    before = question.text.ids[: against.place]
    weight = float(question.mask[against.place])
    sides: list[tuple[Question, float]] = []
    branches = []
    for tail, sign in ((against.target, 1.0), (against.foil, -1.0)):
        text = replace(question.text, ids=(*before, *tail))
        mask = np.array([0.0] * len(before) + [weight] * len(tail), np.float32)
        sides.append((Question(text, mask), sign))
        batch = model.encode([text], [mask])
        rest = baselines.embeddings(model, tail[:-1]) if len(tail) > 1 else None
        branches.append(Branch(batch, rest, sign))
    per_pass = max(1, tokens_per_pass // max(len(b.batch.token_ids[0]) for b in branches))
    scorer = Scorer(model, task, branches, per_pass, watch)
    features = baselines.embeddings(model, before)
    case, found = _fill(model, scorer, features, [sides[0][0]], options)

    deletions = [
        (Deletion(model, task, side.text.ids, side.mask, found[0], None, scorer), sign)
        for side, sign in sides
    ]
    case.without = lambda row, kept: torch.stack(
        [sign * deletion.outputs(kept) for deletion, sign in deletions]
    ).sum(0)
    return Built(case, found, [against.shown])


def _fill(
    model: LanguageModel,
    scorer: Scorer,
    features: torch.Tensor,
    questions: Sequence[Question],
    options: Options,
) -> tuple[Case, list[list[Segment]]]:
    """A Case with baseline, held positions and segments."""
    tokens = features.shape[1]
    held = torch.zeros(features.shape[:2], dtype=torch.bool)
    found = []
    for row, question in enumerate(questions):
        text, asked = question.text, question.asked
        last = int(asked[-1]) if len(asked) else len(text.ids)
        stop = min(int(asked[0]) if options.perturb == "delete" and len(asked) else last, tokens)
        found.append(find_segments(model, question, options, stop))
        held[row, min(last, tokens) :] = True
        if options.template == "hold":
            held[row, : text.content.start] = True
            held[row, text.content.stop : text.target_start] = True
        if options.segment == "regex":
            held[row] |= torch.as_tensor(players_of(found[-1], tokens) < 0)
    case = Case(
        scorer,
        features,
        held=held.to(features.device),
        players=[players_of(one, tokens) for one in found],
        path="two_legs",
    )
    case.baseline = baselines.baseline(
        model, [question.text for question in questions], features, options
    )
    return case, found


def _foils_shown(model: LanguageModel, batch: Batch, row: int) -> str:
    assert batch.foils is not None
    asked = batch.target_mask[row] != 0
    ids = [int(token) for token in batch.foils[row][asked]]
    text = Text(tuple(ids), 0, slice(0, 0))
    return "".join(model.plain_tokens(text))
