"""Question answerers as LIT models: answers as text, and where they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lit_nlp.api import dtypes as lit_dtypes
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_plugins.attribution.explanation import Explanation
from lit_plugins.components.encoders import EncoderModel
from lit_plugins.components.shared import Choice, Loaded, Wanted
from lit_plugins.display import wording
from lit_plugins.models.kinds import Profile

if TYPE_CHECKING:
    from lit_plugins.models.encoded import Encoded
    from lit_plugins.models.hf_answers import Answer, HFQuestionAnswerer

ANSWERS = 5  # that are shown
_NOTHING = "(no answer)"


def answer_models(
    name: str, loaded: Loaded[HFQuestionAnswerer], profile: Profile, description: str
) -> dict[str, lit_model.Model]:
    """See `lit_plugins.models.kinds.Kind`."""
    return {name: AnswerModel(name, loaded, profile, description)}


class AnswerModel(EncoderModel):
    """Finds the part of a context that answers a question.

    `answer` is the best one, empty for "no answer"; LIT's Annotated Text view draws
    `answer_places`, one at a time. It has no parent: LIT's views take a parent for
    one text, and the data's `answers` are a list. `AnswerMetrics` compares the two.
    """

    summary = "Answers a question by a part of the context."
    further_options = ("over",)

    @property
    def labels(self) -> tuple[str, ...]:
        """See EncoderModel."""
        return ()

    def input_spec(self) -> lit_types.Spec:
        """See lit_model.Model."""
        return {"question": lit_types.TextSegment(), "context": lit_types.TextSegment()}

    def output_spec(self) -> lit_types.Spec:
        """See lit_model.Model."""
        return {
            "answer": lit_types.GeneratedText(),
            "answer_score": lit_types.Scalar(),
            "best_answers": lit_types.GeneratedTextCandidates(),
            "answer_places": lit_types.MultiSegmentAnnotations(exclusive=True),
            **self._extra_spec(),
        }

    def _windows(self, model: HFQuestionAnswerer, example: Mapping[str, Any]) -> Sequence[Encoded]:
        return model.windows_of(example)

    def _predict(
        self, model: HFQuestionAnswerer, examples: list[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        found = model.answer(examples, ANSWERS)
        extras = self._extras(model, [self._windows(model, one) for one in examples])
        outputs = []
        for answers, (extra, _) in zip(found, extras, strict=True):
            places = [
                lit_dtypes.AnnotationCluster(
                    f"{one.text or _NOTHING} ({one.score:.2f})", _place(one), one.score
                )
                for one in answers
            ]
            outputs.append(
                {
                    "answer": answers[0].text,
                    "answer_score": answers[0].score,
                    "best_answers": [(one.text or _NOTHING, one.score) for one in answers],
                    "answer_places": places,
                }
                | extra
            )
        return outputs

    def in_words(self, output: Mapping[str, Any]) -> str:
        """See Explainable."""
        return f"{output['answer'] or _NOTHING} {output['answer_score']:.3f}"

    def explanations(
        self,
        examples: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]] | None,
        wanted: Wanted,
    ) -> list[Explanation]:
        """See Explainable: the best answer's `part`, `start` or `end`, or both ends."""
        from lit_plugins.attribution.text_explainer import Ask

        asks = [Ask(example, None, wanted.part) for example in examples]
        return self.shared.explainer().explain_all(asks, method=wanted.method, **wanted.options)

    def _choices(
        self, model: HFQuestionAnswerer, example: Mapping[str, Any], output: Any
    ) -> list[Choice]:
        """See EncoderModel: the best answer, the ends of it, and other answers."""
        [(best, score), *others] = output["best_answers"]
        value = wording.percent(score)
        found = [Choice(best, None, None, value, True)]
        found += [Choice(f"{end} of {best}", None, end, value, False) for end in ("start", "end")]
        named = {best}  # the same words may be there twice, and mean their likeliest place
        for other, less in others:
            if other in named:
                continue
            named.add(other)
            label = "no answer" if other == _NOTHING else other
            found.append(Choice(other, label, None, wording.percent(less), False))
        return found


def _place(answer: Answer) -> list[lit_dtypes.SpanLabel]:
    """Where an answer stands; nowhere for "no answer"."""
    if not answer.text:
        return []
    return [lit_dtypes.SpanLabel(answer.begin, answer.end, "", "context")]
