"""From an Inquiry about a text, and options, to a Case: what is explained, and by which parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from lit_plugins.attribution import baselines
from lit_plugins.attribution.bridge import Branch, Scorer
from lit_plugins.attribution.case import Case
from lit_plugins.attribution.engine import Built
from lit_plugins.attribution.explanation import Segment
from lit_plugins.attribution.options import Options
from lit_plugins.attribution.perturbation import players_of
from lit_plugins.attribution.segments import segments
from lit_plugins.attribution.watch import Watch
from lit_plugins.errors import InputError
from lit_plugins.models.encoded import NO_FIELD, Encoded, EncoderBatch, Inquiry
from lit_plugins.models.hf_encoder import HFEncoder
from lit_plugins.tasks import Choices

_OVER = {"first": 0, "second": 1}


@dataclass(frozen=True)
class _Side:
    """One text of the explanation, and the sign that its score has in it."""

    inquiry: Inquiry
    foils: np.ndarray | None  # (1, rows)
    sign: float = 1.0


def fixed_places(inquiry: Inquiry, options: Options) -> np.ndarray:
    """Tokens that are no text of the user's, or that get no score: (tokens,)."""
    text = inquiry.text
    fixed = np.array([owner == NO_FIELD for owner in text.fields])
    fixed[list(inquiry.fixed)] = True
    if (over := _OVER.get(options.over or "")) is not None:
        fixed |= np.array([owner != over for owner in text.fields])
    return fixed


def find_segments(inquiry: Inquiry, options: Options, stop: int | None = None) -> list[Segment]:
    """The segments that get a score, in the order of the text. Raises InputError."""
    found = all_segments(inquiry, options, stop)
    if not found:
        raise InputError(
            f"pattern {options.pattern!r:.100} matches nothing that can be explained. Expected a "
            "regular expression that matches a visible part."
            if options.segment == "regex"
            else "The text has no tokens that could have a score: it is empty, or over names an "
            "empty one. Give a text of one character at least."
        )
    return found


def all_segments(inquiry: Inquiry, options: Options, stop: int | None = None) -> list[Segment]:
    """The same; none where a pattern matches nothing, or where there is no text."""
    text, unit = inquiry.text, options.segment or "token"
    fixed = fixed_places(inquiry, options)
    hold = options.template == "hold" or unit == "regex"
    over = _OVER.get(options.over or "")
    stop = len(text.ids) if stop is None else stop
    found: list[Segment] = []
    begin = 0
    while begin < stop:
        end = begin + 1
        while end < stop and text.fields[end] == text.fields[begin] != NO_FIELD:
            end += 1
        mine = over is None or text.fields[begin] == over
        if text.fields[begin] == NO_FIELD or (fixed[begin] and mine):
            # Scaffolding: special tokens one by one, a hypothesis as a whole.
            if not hold and mine:
                found.append(Segment(begin, end, "".join(text.pieces[begin:end])))
        elif mine:
            found += segments(text.pieces, unit, begin, end, options.pattern)
        begin = end
    return found


def build(
    model: HFEncoder,
    inquiries: Sequence[Inquiry],
    options: Options,
    watch: Watch,
    tokens_per_pass: int,
    also: Sequence[Sequence[tuple[int, int]]] | None = None,
) -> Built:
    """The Case of some inquiries.

    `also`: choices whose scores are computed in the same pass, for later questions.
    """
    if options.output not in model.outputs:
        raise InputError(
            f"output={options.output}: this model answers with a plain number, not with "
            f"probabilities. Available: {', '.join(model.outputs)}."
        )
    if options.perturb == "delete" and not model.deletable:
        raise InputError(
            "perturb=delete: what is explained belongs to tokens of the text, and would move or go "
            "with them. Use perturb=replace."
        )
    task = model.task(options.output, options.each)
    if also is not None:
        inquiries = [one.ask(more) for one, more in zip(inquiries, also, strict=True)]
    shown: list[str | None] = [options.foil] * len(inquiries)
    if options.foil is not None:
        [inquiry] = inquiries
        foil = _find_foil(inquiry, options.foil)
        if isinstance(foil, Encoded):
            sides = [_Side(inquiry, None), _Side(replace(inquiry, text=foil), None, -1.0)]
            return _two_texts(model, sides, task, options, watch, tokens_per_pass)
        sides = [_Side(inquiry, np.array([foil]))]
    else:
        sides = [_Side(inquiry, None) for inquiry in inquiries]
    batch = model.batch(inquiries)
    per_pass = max(1, tokens_per_pass // batch.token_ids.shape[1])
    if options.foil is not None:
        batch = replace(batch, foils=sides[0].foils)
    elif options.runner_up:
        others = Scorer(model, task, [Branch(batch)], per_pass, watch).runner_up()
        batch = replace(batch, foils=others)
        sides = [
            _Side(one, others[row : row + 1, : len(one.rows)]) for row, one in enumerate(inquiries)
        ]
        shown = ["the runner-up"] * len(inquiries)
    scorer = Scorer(model, task, [Branch(batch)], per_pass, watch)
    case, found = _fill(model, scorer, scorer.features(), batch, inquiries, options)
    case.without = lambda row, kept: _deleted(model, task, sides[row], found[row], kept, scorer)
    return Built(case, found, shown)


def _find_foil(inquiry: Inquiry, name: str) -> tuple[int, ...] | Encoded:
    foil = inquiry.foil(name)
    same = foil.ids == inquiry.text.ids if isinstance(foil, Encoded) else foil == inquiry.targets
    if same:
        raise InputError(f"The foil {name!r:.80} is what is explained. Expected another one.")
    return foil


def _two_texts(
    model: HFEncoder,
    sides: Sequence[_Side],
    task: Choices,
    options: Options,
    watch: Watch,
    tokens_per_pass: int,
) -> Built:
    """Two texts that begin with the same tokens, by what those do for one rather than the other."""
    if model.cut != "token_embedding":
        raise InputError("A foil that is another text is compared at the token embeddings only.")
    texts = [side.inquiry.text for side in sides]
    shared = 0
    while (
        shared < min(len(text.ids) for text in texts) and len({t.ids[shared] for t in texts}) == 1
    ):
        shared += 1
    if shared < texts[0].places(0).stop:
        raise InputError(
            "The text is too long for a contrast: beside the longer of the two labels, more of it "
            "is left out. Shorten it."
        )
    branches = []
    for side in sides:
        batch = model.batch([side.inquiry])
        rest = baselines.embeddings(model, side.inquiry.text.ids[shared:])
        branches.append(Branch(batch, rest, side.sign))
    per_pass = max(1, tokens_per_pass // max(len(text.ids) for text in texts))
    scorer = Scorer(model, task, branches, per_pass, watch)
    first = branches[0].batch
    features = baselines.embeddings(model, texts[0].ids[:shared])
    inquiry = sides[0].inquiry
    case, found = _fill(model, scorer, features, first, [inquiry], options)
    case.without = lambda row, kept: torch.stack(
        [side.sign * _deleted(model, task, side, found[0], kept, scorer) for side in sides]
    ).sum(0)
    return Built(case, found, [options.foil])


def _fill(
    model: HFEncoder,
    scorer: Scorer,
    features: torch.Tensor,
    batch: EncoderBatch,
    inquiries: Sequence[Inquiry],
    options: Options,
) -> tuple[Case, list[list[Segment]]]:
    """A Case with baseline, held positions and segments."""
    tokens = features.shape[1]
    found = [find_segments(one, options, min(tokens, len(one.text.ids))) for one in inquiries]
    players = [players_of(one, tokens) for one in found]
    held = np.stack(players) < 0  # padding, and what gets no score, stays as it is
    case = Case(
        scorer, features, held=torch.as_tensor(held, device=features.device), players=players
    )
    case.baseline = _baseline(model, features, batch, held, options)
    for row, one in enumerate(inquiries):
        if one.text.dropped:
            case.warn(
                row,
                f"The text is too long for this model: {one.text.dropped} tokens at its end were "
                f"left out (max_length is {model.max_length}).",
            )
    return case, found


def _baseline(
    model: HFEncoder,
    features: torch.Tensor,
    batch: EncoderBatch,
    held: np.ndarray,
    options: Options,
) -> torch.Tensor:
    """Features of "nothing there", (batch, tokens, dim). Raises InputError."""
    kind = options.baseline or "zero"
    if kind == "zero":
        return torch.zeros_like(features)
    with model.lock:
        words = _words(model, kind, batch, held, options)
        # At another module than the token embedding: what that makes of these embeddings.
        made = model.features(batch, words)
    return made[:, : features.shape[1]].to(features)


def _words(
    model: HFEncoder, kind: str, batch: EncoderBatch, held: np.ndarray, options: Options
) -> torch.Tensor:
    """Token embeddings (batch, tokens, dim) of "nothing there"; what is held stays."""
    own = torch.cat([model.features_of(ids) for ids in batch.token_ids])
    places = np.zeros(batch.token_ids.shape, bool)
    places[:, : held.shape[1]] = ~held
    count = int(places.sum())
    if kind == "mean":
        other = baselines.mean_embedding(model).expand(count, -1)
    elif kind == "text":
        if len(places) > 1:
            raise InputError("baseline_text is for one text at a time.")
        ids = model.tokenizer(
            options.baseline_text or "", add_special_tokens=False, verbose=False
        ).input_ids
        if len(ids) != count:
            raise InputError(
                f"baseline_text has {len(ids)} tokens, the text {count}. Expected a text of as "
                "many tokens: " + ("add to it." if len(ids) < count else "shorten it.")
            )
        other = model.features_of(ids)[0]
    elif kind in model.fillers:
        other = model.features_of([model.fillers[kind]])[0].expand(count, -1)
    else:
        has = ", ".join(["zero", *model.fillers, "mean", "text"])
        raise InputError(
            f"baseline={kind}: this model's tokenizer has no such token. Available: {has}."
        )
    own[torch.as_tensor(places)] = other.to(own)
    return own


def _deleted(
    model: HFEncoder,
    task: Choices,
    side: _Side,
    found: Sequence[Segment],
    kept: torch.Tensor,
    like: Scorer,
) -> torch.Tensor:
    """Outputs (n, outputs) of a text with segments deleted; `kept` (n, segments)."""
    inquiry = side.inquiry
    left = []
    for row in kept.numpy():
        stays = np.ones(len(inquiry.text.ids), bool)
        for segment, stay in zip(found, row, strict=True):
            stays[segment.start : segment.stop] = stay
        text = inquiry.text.without(stays)
        left.append(replace(inquiry, text=text if text.ids else model.nothing(text)))
    made: dict[int, torch.Tensor] = {}
    lengths = [len(one.text.ids) for one in left]
    room = like.points_per_pass * max(lengths)
    for group in model.in_batches(lengths, room):
        batch = model.batch([left[place] for place in group])
        if side.foils is not None:
            batch = replace(batch, foils=np.repeat(side.foils, len(group), 0))
        scorer = Scorer(model, task, [Branch(batch)], like.points_per_pass, like.watch)
        outputs = scorer.outputs(scorer.features(), torch.arange(len(group)))
        made |= dict(zip(group, outputs, strict=True))
    return torch.stack([made[place] for place in range(len(left))])
