"""Encoder-decoders such as BART read a text twice: the decoder one place later."""

from __future__ import annotations

import families
import numpy as np
import pytest
import torch
import transformers

from lit_plugins.attribution.text_explainer import TextExplainer
from lit_plugins.errors import SourceError
from lit_plugins.models.hf_sequence import HFSequenceClassifier
from lit_plugins.models.hf_zero_shot import HFZeroShotClassifier
from lit_plugins.sources import ModelOptions

TEXT = "the film was wonderful, with a charming cast."
LABELS = ("contradiction", "neutral", "entailment")


def module(kind):
    tokenizer = families.tokenizer_of("roberta")
    sizes = {"d_model": 16, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20, "encoder_layers": 2}
    sizes |= {"decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    if kind == "T5":
        sizes = {"d_model": 16, "d_ff": 20, "d_kv": 8, "num_layers": 2, "num_heads": 2}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        decoder_start_token_id=tokenizer.sep_token_id,
        id2label=dict(enumerate(LABELS)),
        label2id={name: place for place, name in enumerate(LABELS)},
        **sizes,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        made = getattr(transformers, f"{kind}ForSequenceClassification")(config)
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.ndim > 1:
                    # T5's kinks make a path with large weights rough.
                    parameter.mul_(4 if kind == "Bart" else 1)
    return made.double().eval()


@pytest.fixture(params=["Bart", "T5"])
def model(request):
    tokenizer = families.tokenizer_of("roberta")
    return HFSequenceClassifier(module(request.param), tokenizer, ModelOptions(), request.param)


def logits_of_ids(model, ids):
    with torch.no_grad():
        return model.model(input_ids=torch.tensor([ids])).logits[0].numpy()


def test_a_token_changes_on_both_sides(model):
    """Another token's embedding in a token's place is another token in its place."""
    made = TextExplainer(model).explain(
        TEXT, "neutral", method="feature_ablation", output="logit", baseline="mask"
    )
    ids = list(model.texts_of({"text": TEXT}).ids)
    whole = logits_of_ids(model, ids)[1]
    for segment, score in zip(made.segments, made.scores, strict=True):
        changed = list(ids)
        changed[segment.start] = model.fillers["mask"]
        expected = whole - logits_of_ids(model, changed)[1]
        assert score == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_integrated_gradients_are_complete(model):
    made = TextExplainer(model).explain(TEXT, "neutral", output="logit", max_steps=400)
    ids = list(model.texts_of({"text": TEXT}).ids)
    assert made.value == pytest.approx(logits_of_ids(model, ids)[1], abs=1e-6)
    assert made.convergence_error < 0.01


def test_texts_together_are_as_one_by_one(model):
    texts = [TEXT, "dull plot", "nobody"]
    both = model.logits_of([model.texts_of({"text": text}) for text in texts])
    for text, row in zip(texts, both, strict=True):
        alone = model.logits_of([model.texts_of({"text": text})])[0]
        np.testing.assert_allclose(row, alone, rtol=1e-5, atol=1e-6)


def test_zero_shot_with_bart():
    model = HFZeroShotClassifier(
        module("Bart"),
        families.tokenizer_of("roberta"),
        ModelOptions(candidate_labels=("film", "plot")),
    )
    explainer = TextExplainer(model)
    one, other = (
        explainer.explain(TEXT, label, method="grad_dot_input", output="logit")
        for label in ("film", "plot")
    )
    made = explainer.explain(TEXT, "film", foil="plot", method="grad_dot_input", output="logit")
    assert made.value == pytest.approx(float(one.value - other.value), abs=1e-6)
    count = len(made.segments)
    np.testing.assert_allclose(
        made.scores, one.scores[:count] - other.scores[:count], rtol=1e-4, atol=1e-6
    )


def test_what_a_model_raises_is_a_source_error():
    class Broken(torch.nn.Module):
        config = transformers.BertConfig()
        device = torch.device("cpu")

        def get_input_embeddings(self):
            raise NotImplementedError("characters, no embeddings")

    with pytest.raises(SourceError, match="odd cannot be loaded: characters, no embeddings"):
        HFSequenceClassifier(Broken(), families.tokenizer_of("bert"), ModelOptions(), "odd")
