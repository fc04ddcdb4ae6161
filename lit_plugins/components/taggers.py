"""Taggers as LIT models: words, tags, and what is named in the text."""

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
from lit_plugins.errors import InputError
from lit_plugins.models.kinds import Profile

if TYPE_CHECKING:
    from lit_plugins.models.encoded import Encoded
    from lit_plugins.models.hf_tokens import HFTokenClassifier, Tagged


def token_models(
    name: str, loaded: Loaded[HFTokenClassifier], profile: Profile, description: str
) -> dict[str, lit_model.Model]:
    """See `lit_plugins.models.kinds.Kind`."""
    return {name: TokenModel(name, loaded, profile, description)}


class TokenModel(EncoderModel):
    """Tags words, and shows what is named: LIT's Annotated Text view draws `entities`.

    Words are the data's `tokens`, if they stand in the text, else as the tokenizer divides it.
    """

    summary = "Tags words."
    label_field = "tags"
    label_type = lit_types.SequenceTags
    labels_may_differ = True  # the data may be tagged more finely than the model can

    @property
    def labels(self) -> tuple[str, ...]:
        """See EncoderModel."""
        return self.profile.labels

    def input_spec(self) -> lit_types.Spec:
        """See lit_model.Model."""
        return {
            "text": lit_types.TextSegment(),
            "tokens": lit_types.Tokens(parent="text", required=False),
            "tags": lit_types.SequenceTags(align="tokens", required=False),
        }

    def output_spec(self) -> lit_types.Spec:
        """See lit_model.Model. `entities_in_data` are those of the data's own tags, if any."""
        return {
            "tokens": lit_types.Tokens(parent="text"),
            "predicted_tags": lit_types.SequenceTags(align="tokens"),
            "spans": lit_types.SpanLabels(align="tokens", parent="tags"),
            "entities": lit_types.MultiSegmentAnnotations(),
            "entities_in_data": lit_types.MultiSegmentAnnotations(),
            **self._extra_spec(),
        }

    def _windows(self, model: HFTokenClassifier, example: Mapping[str, Any]) -> Sequence[Encoded]:
        return model.windows_of(example)

    def _predict(
        self, model: HFTokenClassifier, examples: list[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        tagged = model.tag(examples)
        extras = self._extras(model, [one.windows for one in tagged])
        outputs = []
        for example, one, (extra, _) in zip(examples, tagged, extras, strict=True):
            entities = model.entities(one)
            outputs.append(
                {
                    "tokens": [word.text for word in one.words],
                    "predicted_tags": [model.labels[word.tag] for word in one.words],
                    "spans": [
                        lit_dtypes.SpanLabel(entity.first, entity.last, entity.label, "tokens")
                        for entity in entities
                    ],
                    "entities": [
                        _annotation(entity.label, entity.begin, entity.end, one.text, entity.score)
                        for entity in entities
                    ],
                    "entities_in_data": self._in_data(example, one),
                }
                | extra
            )
        return outputs

    def _in_data(
        self, example: Mapping[str, Any], tagged: Tagged
    ) -> list[lit_dtypes.AnnotationCluster]:
        tags, words = example.get("tags") or (), tagged.words
        if not isinstance(tags, Sequence) or not all(isinstance(tag, str) for tag in tags):
            raise InputError(f"tags is {tags!r:.60}: expected a list of text.")
        if list(example.get("tokens") or ()) != [word.text for word in words]:
            return []  # the text was edited since
        return [
            _annotation(label, words[first].begin, words[last - 1].end, tagged.text)
            for label, first, last in named(tags, self.profile.options.ignored_labels)
            if last <= len(words)
        ]

    def in_words(self, output: Mapping[str, Any]) -> str:
        """See Explainable."""
        found = [f"{one.label}: {one.spans[0].label}" for one in output["entities"]]
        return ", ".join(found) or "nothing named"

    def explanations(
        self,
        examples: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]] | None,
        wanted: Wanted,
    ) -> list[Explanation]:
        """See Explainable: tags of `part`, a word or entity as text, `word 3` or `words 3-4`."""
        from lit_plugins.attribution.text_explainer import Ask

        asks = [Ask(example, None, wanted.part) for example in examples]
        return self.shared.explainer().explain_all(asks, method=wanted.method, **wanted.options)

    def _choices(
        self, model: HFTokenClassifier, example: Mapping[str, Any], output: Any
    ) -> list[Choice]:
        """See EncoderModel: what is named, and each word's tag. Words may be there twice."""
        found: dict[str, Choice] = {}
        for place, entity in zip(output["spans"], output["entities"], strict=True):
            one = place.start + 1 == place.end
            span = f"word {place.end}" if one else f"words {place.start + 1}-{place.end}"
            name = f"{place.label}: {entity.spans[0].label}"
            found[span] = Choice(name, None, span, wording.percent(entity.score), not found)
        tagged = zip(output["tokens"], output["predicted_tags"], strict=True)
        for number, (word, tag) in enumerate(tagged, 1):
            span = f"word {number}"
            found.setdefault(span, Choice(f"{tag} of {word}", None, span, "", not found))
        return list(found.values())


def named(tags: Sequence[str], ignored: Sequence[str]) -> list[tuple[str, int, int]]:
    """What a text's tags name: label, first word, and the word behind the last."""
    from lit_plugins.models.hf_tokens import split_tag

    found: list[tuple[str, int, int]] = []
    for place, tag in enumerate(tags):
        prefix, label = split_tag(tag)
        if tag in ignored or label in ignored or not tag:
            continue
        goes_on = found and found[-1][2] == place and found[-1][0] == label
        if goes_on and prefix not in ("B", "S", "U"):
            found[-1] = (label, found[-1][1], place + 1)
        else:
            found.append((label, place, place + 1))
    return found


def _annotation(
    label: str, begin: int, end: int, text: str, score: float | None = None
) -> lit_dtypes.AnnotationCluster:
    span = lit_dtypes.SpanLabel(begin, end, text[begin:end], "text")
    return lit_dtypes.AnnotationCluster(label, [span], score)
