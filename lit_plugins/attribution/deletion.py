"""Texts without some of their segments: what the model makes of what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lit_plugins.attribution.bridge import Branch, Scorer, no_memory
from lit_plugins.attribution.explanation import Segment
from lit_plugins.errors import InputError
from lit_plugins.models.language_model import Batch, LanguageModel, Text
from lit_plugins.tasks import CausalLM


class Deletion:
    """The outputs of one text with segments deleted.

    Args:
        model: The language model.
        task: What is explained.
        ids: The text's tokens.
        mask: Their weights in what is explained.
        found: The segments, all of them in front of what is explained.
        foils: What each token explained is compared with, if anything.
        like: Its watch, and how many texts go through the model together.

    """

    def __init__(
        self,
        model: LanguageModel,
        task: CausalLM,
        ids: Sequence[int],
        mask: np.ndarray,
        found: Sequence[Segment],
        foils: np.ndarray | None,
        like: Scorer,
    ):
        self._model, self._task, self._like = model, task, like
        self._ids, self._mask, self._foils = np.asarray(ids), np.asarray(mask), foils
        self._found = found
        self._remembered: Any = None

    def outputs(self, kept: torch.Tensor) -> torch.Tensor:
        """Which segments are kept, (n, segments) -> outputs (n, outputs)."""
        left = [self._without(row) for row in kept.numpy()]
        # On a CPU, where a batch is hardly faster than its texts one by one, it pays to compute
        # no more of a text than what is behind its first change.
        if self._model.on_cpu and self._model.can_go_on:
            return torch.cat([self._gone_on(text, mask) for text, mask in left])
        made: dict[int, torch.Tensor] = {}
        for group in self._groups([text for text, _ in left]):
            batch = self._batch([left[place] for place in group])
            branch = Branch(batch)
            scorer = Scorer(
                self._model, self._task, [branch], self._like.points_per_pass, self._like.watch
            )
            outputs = scorer.outputs(scorer.features(), torch.arange(len(group)))
            made |= dict(zip(group, outputs, strict=True))
        return torch.stack([made[place] for place in range(len(left))])

    def _without(self, kept: np.ndarray) -> tuple[Text, np.ndarray]:
        """The text without the segments that are not kept, and its mask."""
        stays = np.ones(len(self._ids), bool)
        for segment, stay in zip(self._found, kept, strict=True):
            stays[segment.start : segment.stop] = stay
        left, mask = self._ids[stays], self._mask[stays]
        first_asked = int(np.flatnonzero(self._mask[1:])[0]) + 1
        if not stays[:first_asked].any():
            nothing = self._model.tokenizer.nothing
            if not nothing:
                raise InputError(
                    "perturb=delete leaves nothing in front of the target, and this model has no "
                    "token to start from. Use perturb=replace."
                )
            left = np.concatenate([nothing, left])
            mask = np.concatenate([np.zeros(len(nothing)), mask])
        return Text(tuple(int(one) for one in left), 0, slice(0, 0)), mask

    def _groups(self, texts: Sequence[Text]) -> Iterator[list[int]]:
        """Texts of similar length together, so that little of a pass is padding."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place].ids))
        size = self._like.points_per_pass
        for first in range(0, len(order), size):
            yield order[first : first + size]

    def _batch(self, left: Sequence[tuple[Text, np.ndarray]]) -> Batch:
        batch = self._model.encode([text for text, _ in left], [mask for _, mask in left])
        if self._foils is None:
            return batch
        return replace(batch, foils=np.tile(self._foils, (len(left), 1)))

    def _gone_on(self, text: Text, mask: np.ndarray) -> torch.Tensor:
        """Outputs (1, outputs) of a text, from where it differs from the whole one."""
        model, watch = self._model, self._like.watch
        watch.check()
        batch = self._batch([(text, mask)])
        shared = min(len(self._ids), batch.token_ids.shape[1])
        same = self._ids[:shared] == batch.token_ids[0, :shared]
        changed = shared if same.all() else int(np.argmin(same))
        start = min(changed, int(batch.rows.min()))
        try:
            with model.lock, model.backend.no_grad():
                if self._remembered is None:
                    self._remembered = model.remember(self._ids.tolist())
                logits = (
                    model.logits_after(self._remembered, start, batch)
                    if start
                    else model.logits_of_ids(batch)
                )
                parts = self._task.parts(logits, batch, model.backend)
        except Exception as error:
            if not model.backend.out_of_memory(error):
                raise
            raise no_memory() from None
        watch.tick(1)
        return self._task.outputs(model.backend.to_torch(parts), batch)
