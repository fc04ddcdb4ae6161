"""Metrics of answers and tags, and LIT's own for labels, mended where some examples have none."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types
from lit_nlp.components import core
from lit_nlp.components import metrics as lit_metrics

from lit_plugins.components.taggers import named

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_BEST = lit_types.MetricBestValue.HIGHEST


def metrics() -> dict[str, lit_components.Interpreter]:
    """LIT's metrics and ours, by name."""
    own = {
        "multiclass": LabelMetrics(),
        "best label": BestLabelMetrics(),
        "answers": AnswerMetrics(),
        "tags": TagMetrics(),
    }
    return core.default_metrics() | own


class LabelMetrics(lit_metrics.ClassificationMetricsWrapper):
    """LIT's metrics of labels, over the examples that have one of the model's."""

    def __init__(self) -> None:
        super().__init__(_LabelMetrics())


class _LabelMetrics(lit_metrics.MulticlassMetricsImpl):
    def get_all_metrics(
        self,
        y_true: Sequence[int],
        y_pred_probs: Sequence[Any],
        pred_spec: lit_types.MulticlassPreds,
        config: Any = None,
        null_idx: int | None = None,
    ) -> Mapping[str, Any]:
        # LIT's own leaves out unlabelled examples twice, and so the wrong ones.
        has = [place for place, label in enumerate(y_true) if label != -1]
        if not has:
            return {"num_missing_labels": len(y_true)}
        margins: Any = config and [config[place] for place in has]
        found = super().get_all_metrics(
            [y_true[place] for place in has],
            [y_pred_probs[place] for place in has],
            pred_spec,
            margins,
            null_idx,
        )
        missing = len(y_true) - len(has)
        return found | ({"num_missing_labels": missing} if missing else {})


class BestLabelMetrics(lit_metrics.SimpleMetrics):
    """How often the best of a text's own labels is the data's `label`.

    The fields have no relation in the specs: LIT's Multilabel view would need a label in all data.
    """

    def meta_spec(self) -> lit_types.Spec:
        """See lit_components.Metrics."""
        about = "Share of texts with a label whose best label it is. Closer to 1 is better."
        return {"accuracy": lit_types.MetricResult(best_value=_BEST, description=about)}

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """See lit_components.Metrics."""
        scores = model.output_spec().get("scores")
        return (
            isinstance(scores, lit_types.SparseMultilabelPreds)
            and scores.parent is None
            and isinstance(dataset.spec().get("label"), lit_types.CategoryLabel)
        )

    def run(
        self,
        inputs: Sequence[Mapping[str, Any]],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: list[Any] | None = None,
        config: Any = None,
    ) -> list[Any]:
        """See lit_components.Metrics."""
        if not self.is_compatible(model, dataset):
            return []
        outputs = model_outputs if model_outputs is not None else list(model.predict(inputs))
        right = [
            output["scores"][0][0] == example["label"]
            for example, output in zip(inputs, outputs, strict=True)
            if example.get("label")
        ]
        if not right:
            return []
        found = {"accuracy": sum(right) / len(right)}
        return [{"pred_key": "scores", "label_key": "label", "metrics": found}]


class AnswerMetrics(lit_metrics.SimpleMetrics):
    """How well answers agree with the data's `answers`, the best of them, as SQuAD counts it."""

    def meta_spec(self) -> lit_types.Spec:
        """See lit_components.Metrics."""
        return {
            "exact match": lit_types.MetricResult(
                best_value=_BEST,
                description="Share of answers that are one of the data's, but for case, "
                "punctuation and articles. Closer to 1 is better.",
            ),
            "word F1": lit_types.MetricResult(
                best_value=_BEST,
                description="Mean harmonic mean of precision and recall of an answer's words. "
                "Closer to 1 is better.",
            ),
        }

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """See lit_components.Metrics."""
        answers = isinstance(dataset.spec().get("answers"), lit_types.SparseMultilabel)
        return answers and isinstance(model.output_spec().get("answer"), lit_types.GeneratedText)

    def run(
        self,
        inputs: Sequence[Mapping[str, Any]],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: list[Any] | None = None,
        config: Any = None,
    ) -> list[Any]:
        """See lit_components.Metrics. An example without answers has "no answer" as the right one.

        The fields have no relation in the specs, because LIT's views would take the list for text.
        """
        if not self.is_compatible(model, dataset) or not inputs:
            return []
        outputs = model_outputs if model_outputs is not None else list(model.predict(inputs))
        pairs = [
            (example.get("answers") or [""], output["answer"])
            for example, output in zip(inputs, outputs, strict=True)
        ]
        exact = [max(_plain(one) == _plain(said) for one in right) for right, said in pairs]
        overlap = [max(_overlap(one, said) for one in right) for right, said in pairs]
        found = {
            "exact match": sum(exact) / len(pairs),
            "word F1": sum(overlap) / len(pairs),
        }
        return [{"pred_key": "answer", "label_key": "answers", "metrics": found}]


class TagMetrics(lit_metrics.SimpleMetrics):
    """How well what taggers name agrees with the data's tags: the same words, the same label."""

    def meta_spec(self) -> lit_types.Spec:
        """See lit_components.Metrics."""
        about = {
            "precision": "Share of what the model names that the data names, too.",
            "recall": "Share of what the data names that the model names, too.",
            "f1": "Harmonic mean of precision and recall.",
        }
        return {
            name: lit_types.MetricResult(
                best_value=_BEST, description=f"{text} Closer to 1 is better."
            )
            for name, text in about.items()
        }

    def is_field_compatible(
        self, pred_spec: lit_types.LitType, parent_spec: lit_types.LitType | None
    ) -> bool:
        """See lit_components.Metrics."""
        return isinstance(pred_spec, lit_types.SpanLabels) and isinstance(
            parent_spec, lit_types.SequenceTags
        )

    def compute(
        self,
        labels: Sequence[Sequence[str]],
        preds: Sequence[Sequence[Any]],
        label_spec: lit_types.LitType,
        pred_spec: lit_types.LitType,
        config: Any = None,
        indices: Any = None,
        metas: Any = None,
    ) -> dict[str, float]:
        """See lit_components.Metrics: over all examples that have tags."""
        right = given = said = 0
        for tags, spans in zip(labels, preds, strict=True):
            if not tags:
                continue
            gold = Counter(named(tags, ("O",)))
            mine = Counter((span.label, span.start, span.end) for span in spans)
            right += sum((gold & mine).values())
            given += sum(gold.values())
            said += sum(mine.values())
        precision, recall = right / max(1, said), right / max(1, given)
        both = 2 * precision * recall / (precision + recall) if right else 0.0
        return {"precision": precision, "recall": recall, "f1": both}


def _plain(text: str) -> list[str]:
    """Words without case, punctuation and articles (Rajpurkar et al. 2016, arXiv 1606.05250)."""
    kept = "".join(one for one in text.lower() if one not in string.punctuation)
    return _ARTICLES.sub(" ", kept).split()


def _overlap(right: str, said: str) -> float:
    one, other = _plain(right), _plain(said)
    if not one or not other:
        return float(one == other)
    same = sum((Counter(one) & Counter(other)).values())
    return 2 * same / (len(one) + len(other))
