"""Each family of encoders, and each head, against Captum called by hand on the same module.

Captum's LayerIntegratedGradients puts its points in the place of what the word embeddings return,
as we do. XLNet embeds (tokens, batch): there Captum would take tokens for examples, so it gets the
embeddings as an input of the model.
"""

from __future__ import annotations

import functools
import re

import captum.attr as captum
import families
import numpy as np
import pytest
import torch
from families import FAMILIES, VARIANTS

from lit_plugins.attribution.text_explainer import Ask, TextExplainer
from lit_plugins.errors import InputError
from lit_plugins.models.encoded import NO_FIELD, Inquiry
from lit_plugins.models.hf_sequence import HFSequenceClassifier
from lit_plugins.sources import ModelOptions

pytestmark = pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")

TEXT = "the film was wonderful, with a charming cast."
TEXTS = [
    "Dull plot!",
    TEXT,
    "Ada Lovelace lived in London and nobody cared about the plot.",
    "a cat",
]
HARD = [
    "wonderful 🙂👩‍👩‍👧 cast 🇫🇷 end.",
    "cafe\u0301 nai\u0308ve a\u0327\u0300 end.",
    "the שלום עולם film مرحبا بالعالم.",
    "東京は a film です。nobody",
    "the\tfilm\nwas  dull\r\n\n  plot\u00a0and\u3000cast",
    "  Ada, Ada; unforgettable-ish ﬁlm… x²",
    "e",
]
STEPS = 6
IG = {"steps": STEPS, "rule": "gauss_legendre", "path": "straight"}
CHEAP = [
    ("grad_l2", {}),
    ("grad_l1", {}),
    ("grad_dot_input", {}),
    ("integrated_gradients", IG),
    ("integrated_gradients", {"steps": "auto"}),
    ("feature_ablation", {}),
    ("leave_one_out", {"perturb": "delete"}),
]
# A norm right behind their embeddings takes the scale away: gradient times input is nothing.
SCALE_FREE = ["deberta-v2", "modernbert"]
TAGGERS = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def model_of(family, attention, head="sequence"):
    return families.encoder(family, attention, head)


@pytest.fixture(params=VARIANTS, ids="-".join)
def model(request):
    return model_of(*request.param)


def families_of(heads):
    return [(name, one) for name, one in VARIANTS if name in heads]


def inputs_of(model, text):
    """What the module is given for a text, as its caller would write it."""
    given = {"input_ids": torch.tensor([text.ids])}
    if text.types is not None:
        given["token_type_ids"] = torch.tensor([text.types])
    return given


def native(model, text, pick, baseline, steps=STEPS):
    """Captum's integrated gradients of `pick(output)`, (tokens,): special tokens stay."""
    given, module = inputs_of(model, text), model.model
    ids = given.pop("input_ids")
    moves = torch.tensor([[owner != NO_FIELD for owner in text.fields]])
    token = model.fillers.get(baseline)
    reference = ids if token is None else torch.where(moves, token, ids)
    settings = {"n_steps": steps, "method": "gausslegendre"}

    def forward(ids, **more):
        extra = {name: one.expand(len(ids), -1) for name, one in given.items()}
        return pick(module(**more or {"input_ids": ids}, **extra))

    layer = module.get_input_embeddings()
    if token is None or model.model.config.model_type == "xlnet":
        # From a baseline that is no token, or of a module that Captum's layers do not fit.
        features, start = layer(ids), layer(reference)
        if token is None:
            start = torch.where(moves[..., None], 0, features)
        if model.model.config.model_type == "xlnet":
            made = captum.IntegratedGradients(lambda at: forward(at, inputs_embeds=at)).attribute(
                features, start, **settings
            )
            return made[0].sum(-1).numpy()
        hooked = {}
        handle = layer.register_forward_hook(lambda *_: hooked["at"])

        def at_layer(at):
            hooked["at"] = at
            return forward(ids.expand(len(at), -1))

        made = captum.IntegratedGradients(at_layer).attribute(features, start, **settings)
        handle.remove()
    else:
        made = captum.LayerIntegratedGradients(forward, layer).attribute(ids, reference, **settings)
    return made[0].sum(-1).detach().numpy()


def full(made):
    """Scores of all tokens (…, tokens); those that are always there have 0."""
    scores = np.zeros((*made.scores.shape[:-1], len(made.tokens)))
    for place, segment in enumerate(made.segments):
        assert segment.stop == segment.start + 1
        scores[..., segment.start] = made.scores[..., place]
    return scores


def same(ours, theirs, tolerance=2e-6):
    """Up to Captum's weights, which are float32."""
    scale = np.abs(theirs).max()
    assert scale > 1e-6
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale)


def explain(model, example, *args, **options):
    return TextExplainer(model).explain(example, *args, **options)


# The label of a text.


@pytest.mark.parametrize("output", ["logit", "prob"])
@pytest.mark.parametrize(
    ("family", "attention", "baseline"),
    [(*one, baseline) for one in VARIANTS for baseline in FAMILIES[one[0]].baselines],
)
def test_integrated_gradients_are_captums(family, attention, baseline, output):
    model = model_of(family, attention)
    [text] = model.encode([TEXT])
    label = model.labels[1]

    def pick(made):
        logits = made.logits
        return (logits if output == "logit" else logits.softmax(-1))[:, 1]

    theirs = native(model, text, pick, baseline)
    ours = explain(model, TEXT, label, output=output, baseline=baseline, **IG)
    same(full(ours), theirs)


def test_embeddings_put_back_are_the_model(model):
    texts = [model.encode([text])[0] for text in (TEXTS if model.pads else TEXTS[1:2])]
    batch = model.batch([Inquiry(text, (0,), (0,), ("",), (0,)) for text in texts])
    given = {"input_ids": torch.as_tensor(batch.token_ids)}
    given["attention_mask"] = torch.as_tensor(batch.padding_mask.astype(np.int64))
    if batch.token_types is not None:
        given["token_type_ids"] = torch.as_tensor(batch.token_types)
    with torch.no_grad():
        whole = model.model(**given).logits
        again = model.logits(model.features(batch), batch)[:, 0]
    assert (whole - whole.mean(0)).abs().max() > 1e-2 or len(texts) == 1
    torch.testing.assert_close(again, whole, rtol=0, atol=1e-12)


def test_padding_changes_nothing(model):
    # XLNet reads the last token, FNet and ConvBERT the padding itself: no batch has any.
    assert model.pads == (model.description not in ("xlnet", "fnet", "convbert"))
    texts = [model.encode([text])[0] for text in TEXTS]
    together = model.logits_of(texts)
    alone = np.concatenate([model.logits_of([text]) for text in texts])
    by_hand = []
    for text in texts:
        with torch.no_grad():
            by_hand.append(model.model(**inputs_of(model, text)).logits[0].numpy())
    np.testing.assert_allclose(together, by_hand, rtol=0, atol=1e-6 * np.abs(by_hand).max())
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6 * np.abs(by_hand).max())
    assert np.ptp(by_hand, axis=0).max() > 1e-2


@pytest.mark.parametrize(("method", "options"), CHEAP, ids=[name for name, _ in CHEAP])
def test_a_batch_is_as_one_by_one(model, method, options):
    if method == "grad_dot_input" and model.description in SCALE_FREE:
        made = explain(model, TEXT, output="logit", method=method)
        norm = explain(model, TEXT, output="logit", method="grad_l2")
        assert np.abs(made.scores).max() < 1e-2 * norm.scores.max()
        return
    label = model.labels[2]
    asks = [Ask(text, label) for text in TEXTS]
    options = {"output": "logit"} | options
    if model.description == "gpt2" and "perturb" in options:
        options["perturb"] = "replace"  # nothing would be left of the text
    together = TextExplainer(model).explain_all(asks, method=method, **options)
    for ask, one in zip(asks, together, strict=True):
        alone = explain(model, ask.example, label, method=method, **options)
        assert one.tokens == alone.tokens
        assert one.value == pytest.approx(float(alone.value), rel=1e-6)
        same(one.scores, alone.scores)


def test_scores_sum_to_what_the_text_changes(model):
    baseline = FAMILIES[model.description].baselines[0]
    [text] = model.encode([TEXT])
    made = explain(model, TEXT, model.labels[0], output="logit", baseline=baseline, steps="auto")
    assert made.convergence_error < 0.01
    assert made.notes["converged"]
    # What it sums to, by the module itself: the baseline's token at each place but special ones.
    given = inputs_of(model, text)
    with torch.no_grad():
        value = model.model(**given).logits[0, 0]
        if model.description != "gpt2":  # it finds a text's end by its tokens
            moves = torch.tensor([[owner != NO_FIELD for owner in text.fields]])
            ids = given["input_ids"]
            positions = {}
            if model.description == "roberta":
                positions["position_ids"] = torch.arange(2, 2 + len(text.ids))[None]
            given["input_ids"] = torch.where(moves, model.fillers[baseline], ids)
            base = model.model(**given, **positions).logits[0, 0]
            assert made.baseline_value == pytest.approx(float(base), rel=1e-6)
    assert made.value == pytest.approx(float(value), rel=1e-6)
    assert made.scores.sum() == pytest.approx(float(made.value - made.baseline_value), rel=0.01)


# Tokens and words.


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", HARD)
def test_pieces_are_the_text_and_words_are_sums(family, text):
    model = model_of(family, FAMILIES[family].attentions[0])
    [encoded] = model.encode([text])
    own = encoded.places(0)
    # Some tokenizers have tokens for the space in front, too.
    assert "".join(encoded.pieces[own]) in (text, text.strip())
    options = {"output": "logit", "steps": 3}
    tokens = explain(model, text, model.labels[0], segment="token", **options)
    words = explain(model, text, model.labels[0], segment="word", **options)
    assert "".join(one.text for one in words.segments) == "".join(encoded.pieces[own])
    assert [one.text.strip() for one in words.segments] == text.split()
    # By hand: a token is of the word in which its first character is.
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    sums = np.zeros(len(starts))
    scores = full(tokens)
    at = text.index("".join(encoded.pieces[own]))
    for place in range(own.start, own.stop):
        piece = encoded.pieces[place]
        first = at + len(piece) - len(piece.lstrip())
        # An empty piece goes on with the character before it, white space alone with the word.
        first = first if piece.strip() else max(at - 1, 0)
        sums[max(0, sum(start <= first for start in starts) - 1)] += scores[place]
        at += len(piece)
    same(words.scores, sums)


@pytest.mark.parametrize("family", ["albert", "deberta-v2", "xlnet"])
def test_a_space_that_the_tokenizer_put_in_front_is_no_character(family):
    """It says that the space is the word's first character, which is the next token's."""
    model = model_of(family, "eager")
    shown = {"The film": ("", "T", "h", "e", " film"), "東京": ("", "東京"), " e": (" ", "e")}
    for text, pieces in shown.items():
        [encoded] = model.encode([text])
        own = encoded.places(0)
        assert model.tokenizer.convert_ids_to_tokens(encoded.ids[own])[0] == "▁"
        assert encoded.pieces[own] == pieces


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_texts_of_nothing(model, text):
    """White space has tokens in some families only."""
    if model.encode([TEXT])[0].fields[-1] == NO_FIELD and not any(
        owner == 0 for owner in model.encode([text])[0].fields
    ):
        with pytest.raises(InputError, match="empty"):
            explain(model, text, model.labels[0], method="grad_l2")
    elif not text:
        with pytest.raises(InputError, match="no token to put in its place"):
            explain(model, text, model.labels[0], method="grad_l2")
    else:
        assert explain(model, text, model.labels[0], method="grad_l2").scores.all()


# Tags and answers.


@pytest.mark.parametrize("output", ["logit", "prob"])
@pytest.mark.parametrize("variant", families_of(TAGGERS), ids="-".join)
def test_tags(variant, output):
    model = model_of(*variant, "tokens")
    text = "Ada Lovelace lived in London."
    [tagged] = model.tag([{"text": text}])
    [window] = tagged.windows
    word = tagged.words[1]
    assert word.text == "Lovelace"
    row, tag = word.tokens[0], 2

    def pick(made):
        logits = made.logits[:, row]
        return (logits if output == "logit" else logits.softmax(-1))[:, tag]

    theirs = native(model, window, pick, "pad")
    ours = explain(model, text, model.labels[tag], "word 2", output=output, baseline="pad", **IG)
    assert ours.targets == (row,)
    same(full(ours), theirs)
    # All words at once: one map each.
    each = explain(
        model, text, model.labels[tag], text, output=output, baseline="pad", each=True, **IG
    )
    same(full(each)[each.targets.index(row)], theirs)


@pytest.mark.parametrize("output", ["logit", "prob", "logprob"])
@pytest.mark.parametrize("variant", families_of(TAGGERS[:5]), ids="-".join)
def test_answers(variant, output):
    model = model_of(*variant, "answers")
    example = {"question": "where does Ada live?", "context": "Ada lived in London with a cast."}
    [window] = model.windows_of(example)
    [[best]] = model.answer([example])
    allowed = torch.tensor(model.allowed(window))
    for end, place in (("start", best.first), ("end", best.last)):

        def pick(made, end=end, place=place):
            logits = made[f"{end}_logits"].masked_fill(~allowed, float("-inf"))
            values = {"logit": logits, "prob": logits.softmax(-1)}.get(
                output, logits.log_softmax(-1)
            )
            return values[:, place]

        theirs = native(model, window, pick, "mask")
        ours = explain(model, example, None, end, output=output, baseline="mask", **IG)
        assert ours.targets == (place,)
        same(full(ours), theirs)


@pytest.mark.parametrize("head", ["tokens", "answers"])
@pytest.mark.parametrize("family", TAGGERS[:5])
def test_batches_of_tags_and_answers(family, head):
    model = model_of(family, FAMILIES[family].attentions[-1], head)
    examples = [{"text": text} for text in TEXTS]
    if head == "answers":
        examples = [{"question": "where is Ada?", "context": text} for text in TEXTS]
    for method, options in (("grad_l2", {}), ("integrated_gradients", IG)):
        together = TextExplainer(model).explain_all(
            [Ask(one) for one in examples], method=method, **options
        )
        for example, one in zip(examples, together, strict=True):
            alone = explain(model, example, method=method, **options)
            assert one.targets == alone.targets
            assert one.value == pytest.approx(float(alone.value), rel=1e-6)
            same(one.scores, alone.scores)


# Other heads.


@pytest.mark.parametrize("output", ["logit", "prob", "logprob"])
def test_labels_that_do_not_exclude_each_other(output):
    model = families.encoder(
        "bert", "sdpa", num_labels=4, problem_type="multi_label_classification"
    )
    [text] = model.encode([TEXT])
    each = explain(model, TEXT, each=True, output=output, baseline="pad", **IG)
    assert each.names == model.labels
    how = {"logit": lambda one: one, "prob": torch.sigmoid}.get(
        output, torch.nn.functional.logsigmoid
    )
    for label, ours in enumerate(full(each)):
        theirs = native(model, text, lambda made, label=label: how(made.logits[:, label]), "pad")
        same(ours, theirs)
        against = native(model, text, lambda made, label=label: how(-made.logits[:, label]), "pad")
        name = f"not {model.labels[label]}"
        same(full(explain(model, TEXT, name, output=output, baseline="pad", **IG)),
             against if output != "prob" else -theirs)  # fmt: skip


def test_one_logit_towards_yes_and_no():
    model = families.encoder("bert", "eager", num_labels=1)
    assert model.head == "yes_or_no"
    [text] = model.encode([TEXT])
    label = model.labels[0]
    for output, how in (("logit", lambda one: one), ("prob", torch.sigmoid)):
        theirs = native(model, text, lambda made, how=how: how(made.logits[:, 0]), "mask")
        yes = explain(model, TEXT, label, output=output, baseline="mask", **IG)
        no = explain(model, TEXT, f"not {label}", output=output, baseline="mask", **IG)
        same(full(yes), theirs)
        same(no.scores, -yes.scores, 1e-6)
    # Of the logit, exactly: the same number with another sign.
    yes = explain(model, TEXT, label, method="grad_dot_input", output="logit")
    no = explain(model, TEXT, f"not {label}", method="grad_dot_input", output="logit")
    assert np.array_equal(yes.scores, -no.scores)
    assert yes.value == -no.value


def test_a_number():
    model = families.encoder("roberta", "sdpa", num_labels=1, problem_type="regression")
    assert model.outputs == ("logit",)
    [text] = model.encode([TEXT])
    theirs = native(model, text, lambda made: made.logits[:, 0], "pad")
    ours = explain(model, TEXT, baseline="pad", **IG)
    same(full(ours), theirs)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlnet", "modernbert"])
def test_pairs(family):
    """Types of the second text, and the separators of each family."""
    model = families.encoder(family, FAMILIES[family].attentions[-1], fields=("text_a", "text_b"))
    pair = ["the film was dull.", "nobody cared about Ada"]
    [made] = model.tokenizer(*pair).encodings
    [text] = [model.encode(pair)[0]]
    assert text.ids == tuple(made.ids)
    theirs = native(model, text, lambda made: made.logits[:, 2], "pad")
    ours = explain(model, pair, model.labels[2], output="logit", baseline="pad", **IG)
    same(full(ours), theirs)
    for over, number in (("first", 0), ("second", 1)):
        part = explain(
            model, pair, model.labels[2], output="logit", over=over, method="grad_dot_input"
        )
        assert {text.fields[one.start] for one in part.segments} == {number}


# What a checkpoint may say of itself.


def test_a_decoder_is_padded_with_its_own_token():
    """The tokenizer's padding is another one than that by which the model finds a text's end."""
    module = families.module_of("gpt2", "eager", "sequence", pad_token_id=9)
    tokenizer = families.gpt2_bpe()
    assert tokenizer.eos_token_id != 9
    model = HFSequenceClassifier(module, tokenizer, ModelOptions(), "gpt2")
    assert model.model.config.pad_token_id == 9
    texts = [model.encode([text])[0] for text in TEXTS]
    alone = np.concatenate([model.logits_of([text]) for text in texts])
    np.testing.assert_allclose(model.logits_of(texts), alone, rtol=1e-6)


@pytest.mark.parametrize(
    "family", [name for name in FAMILIES if FAMILIES[name].attentions[0] == "sdpa"]
)
def test_attention_in_the_open_changes_nothing(family):
    module = families.module_of(family, "sdpa", "sequence").float()
    model = HFSequenceClassifier(module, families.tokenizer_of(family), ModelOptions(), family)
    texts = [model.encode([text])[0] for text in TEXTS]
    before = model.logits_of(texts)
    with model.eager():
        assert model.model.config._attn_implementation == "eager"
        seen = model.logits_of(texts)
    np.testing.assert_allclose(seen, before, rtol=0, atol=1e-5 * np.abs(before).max())
    assert model.model.config._attn_implementation == "sdpa"
