"""Hugging Face models, on tiny random ones of each family: the cut, the numbers, the texts."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from gradients import SCORES, score_and_gradient

from lit_plugins.errors import InputError, SourceError, SpecError
from lit_plugins.models.hf_text import HFCausalLM
from lit_plugins.models.tokens import plain_text
from lit_plugins.sources import ModelOptions
from lit_plugins.tasks import CausalLM

PAIRS = [
    ("the cat", " sat on the mat."),
    ("What is the capital of France?", " Paris."),
    ("", "the"),
    ("the dog ate the onion soup. Taste-dislikes: onions.\nSuggestion:", " no"),
    ("naïve 👋🏽 <bos> \u200b", " x  y\n\n"),
]


def _masks(texts):
    return [
        [0.0] * text.target_start + [1.0] * (len(text.ids) - text.target_start) for text in texts
    ]


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def model(request):
    return tiny.hf_model(request.param)


def test_cut_is_the_same_model(model):
    texts = [model.text(*pair) for pair in PAIRS]
    batch = model.encode(texts, _masks(texts))
    features = model.features(batch)
    assert features.shape == (*batch.token_ids.shape, 24)
    whole = model.logits_of_ids(batch)
    assert whole.shape == (len(PAIRS), batch.rows.shape[1], 340)
    assert torch.equal(model.logits(features, batch), whole)
    assert not torch.allclose(model.logits(features * 0, batch), whole, atol=1e-2)


def test_score_and_gradient_equal_a_hand_written_pass(model):
    """No batch, no padding, no cut: all logits from token ids, embeddings caught by a hook."""
    texts = [model.text(*pair) for pair in PAIRS]
    scores, features, gradient = score_and_gradient(
        model, CausalLM(), model.encode(texts, _masks(texts))
    )
    module = model.model
    for row, text in enumerate(texts):
        caught = []

        def catch(_, __, output, caught=caught):
            caught.append(output.detach().requires_grad_(True))
            return caught[0]

        handle = module.get_input_embeddings().register_forward_hook(catch)
        logits = module(torch.tensor([text.ids])).logits[0].log_softmax(-1)
        handle.remove()
        score = sum(
            logits[place - 1, text.ids[place]] for place in range(text.target_start, len(text.ids))
        )
        (expected,) = torch.autograd.grad(score, caught[0])
        assert scores[row] == pytest.approx(score.item(), rel=1e-5)
        length = len(text.ids) - 1  # the last token is not an input of its own prediction
        scale = expected.abs().max().item()
        np.testing.assert_allclose(
            features[row, :length], caught[0].detach()[0, :length], rtol=1e-6
        )
        np.testing.assert_allclose(gradient[row, :length], expected[0, :length], atol=2e-5 * scale)
        assert not gradient[row, length:].any()
        assert expected[0, length:].abs().max() == 0


def test_methods_by_hand(model):
    texts = [model.text(*PAIRS[0])]
    _, features, gradient = score_and_gradient(
        model, CausalLM(), model.encode(texts, _masks(texts))
    )
    l2 = SCORES["grad_l2"](features, gradient)
    dot = SCORES["grad_dot_input"](features, gradient)
    for token in range(features.shape[1]):
        assert l2[0, token] == pytest.approx(sum(gradient[0, token] ** 2) ** 0.5, rel=1e-5)
        by_hand = sum(a * b for a, b in zip(features[0, token], gradient[0, token], strict=True))
        assert dot[0, token] == pytest.approx(by_hand, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_generation_does_not_depend_on_the_batch(model, size):
    prompts = ["the cat", "What is", "", "the dog ate the", "a", "naïve 👋", "the the the the"][
        :size
    ]
    alone = [model.generate([prompt], max_new_tokens=5)[0].response for prompt in prompts]
    together = model.generate(prompts, max_new_tokens=5)
    assert [one.response for one in together] == alone
    assert all(0 < len(one.text.ids) - one.text.target_start <= 5 for one in together)


def test_greedy_is_the_likeliest_token_each_time(model):
    made = model.generate(["the cat sat"], max_new_tokens=4)[0].text
    ids = list(made.ids[: made.target_start])
    for token in made.ids[made.target_start :]:
        assert token == model.model(torch.tensor([ids])).logits[0, -1].argmax().item()
        ids.append(token)


# From here on one family will do: nothing below depends on the network.


@pytest.fixture(scope="module")
def llama():
    return tiny.hf_model("llama")


@pytest.fixture(scope="module")
def chat():
    return tiny.hf_model("llama", tiny.byte_level_tokenizer(chat=True))


def test_nothing_stays_behind(llama):
    module = llama.model
    before = module.generation_config.to_dict()
    llama.generate(["the"], max_new_tokens=2, temperature=1.0)
    llama.mean_embeddings([llama.text("the", " cat")])
    with pytest.raises(RuntimeError):
        llama.logits(torch.zeros(1, 2, 999), llama.encode([llama.text("a", "b")], [[0, 1, 1]]))
    assert not any(part._forward_pre_hooks for part in module.modules())
    assert module.generation_config.to_dict() == before
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_the_checkpoints_own_sampling_settings_do_not_apply(llama):
    greedy = llama.generate(["the cat"], max_new_tokens=6)[0].response
    own = llama.model.generation_config
    try:
        own.do_sample, own.temperature, own.repetition_penalty = True, 9.0, 5.0
        assert llama.generate(["the cat"], max_new_tokens=6)[0].response == greedy
    finally:
        own.do_sample, own.temperature, own.repetition_penalty = False, None, None


def test_sampling_repeats_by_its_seed_and_leaves_torchs_alone(llama):
    def sample(seed):
        return llama.generate(["the cat"], max_new_tokens=9, temperature=5.0, seed=seed)[0].response

    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = sample(1)
    assert torch.rand(1) == expected
    assert sample(1) == first
    assert any(sample(seed) != first for seed in range(2, 6))


def test_top_p_of_almost_nothing_is_greedy(llama):
    greedy = llama.generate(["the cat"], max_new_tokens=6)[0].response
    sampled = llama.generate(["the cat"], max_new_tokens=6, temperature=2.0, top_p=1e-6)
    assert sampled[0].response == greedy


def test_stop_text_ends_the_response_and_is_not_part_of_it(llama):
    full = llama.generate(["the cat"], max_new_tokens=8)[0]
    stop = plain_text(llama.tokenizer.pieces(full.text.ids[full.text.target_start + 3 :][:2]))
    cut = llama.generate(["the cat"], max_new_tokens=8, stop=(stop,))[0]
    assert cut.response == full.response[: full.response.index(stop)]
    kept = cut.text.ids[cut.text.target_start :]
    assert plain_text(llama.tokenizer.pieces(kept)) == cut.response


def test_end_token_ends_the_response_and_is_not_part_of_it():
    model = tiny.hf_model("llama")
    made = model.generate(["the cat"], max_new_tokens=6)[0].text
    tokens = made.ids[made.target_start :]
    model.tokenizer.stops = frozenset({tokens[3]})
    again = model.generate(["the cat"], max_new_tokens=6)[0].text
    assert again.ids[again.target_start :] == tokens[: tokens.index(tokens[3])]


def test_generated_target_has_the_generated_tokens_not_a_retokenisation(chat):
    for prompt in ("the cat", "What is the capital of France?"):
        made = chat.generate([prompt], max_new_tokens=12)[0]
        assert chat.text(prompt, made.response).ids == made.text.ids
    forgetful = tiny.hf_model("llama", tiny.byte_level_tokenizer(chat=True))
    retokenised = [forgetful.text(prompt, made.response).ids != made.text.ids]
    assert any(retokenised), "choose a prompt whose completion is not the canonical tokenisation"


def test_chat_template_is_part_of_what_is_seen(chat):
    text = chat.text("the cat", " sat")
    shown = "".join(chat.shown_tokens(text)).replace("▁", " ")
    assert shown == "<|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\n sat"
    assert plain_text(chat.tokenizer.pieces(text.ids[text.content])) == "the cat"
    assert plain_text(chat.tokenizer.pieces(text.ids[text.target_start :])) == " sat"


def test_chat_off_and_system_prompt():
    tokenizer = tiny.byte_level_tokenizer(chat=True)
    plain = tiny.hf_model("llama", tokenizer, chat="off")
    assert "".join(plain.shown_tokens(plain.text("the cat"))) == "the▁cat"
    system = tiny.hf_model("llama", tokenizer, system="the", max_new_tokens=4)
    shown = "".join(system.shown_tokens(system.text("the")))
    assert shown.startswith("<|im_start|>system\nthe<|im_end|>")
    with pytest.raises(SpecError, match="no chat template"):
        tiny.hf_model("llama", chat=True)


@pytest.mark.parametrize(
    "prompt", ["", " ", "the", "<|im_end|>", "naïve 👋🏽", "a\n\nb ", "assistant"]
)
def test_content_is_the_users_own_prompt(chat, prompt):
    text = chat.text(prompt)
    own = b"".join(piece.data for piece in chat.tokenizer.pieces(text.ids[text.content]))
    assert own.decode() == prompt
    assert text.content.start == len(chat.tokenizer.encode("<|im_start|>user\n"))


def test_empty_prompt_without_bos_starts_from_the_document_separator():
    model = tiny.hf_model("gpt2", tiny.byte_level_tokenizer())
    text = model.text("", "the cat")
    assert model.shown_tokens(text)[0] == "<|endoftext|>"
    assert text.target_start == 1
    assert model.generate([""], max_new_tokens=3)[0].text.target_start == 1


def test_long_prompt_loses_its_beginning_and_keeps_the_template():
    model = tiny.hf_model("llama", tiny.byte_level_tokenizer(chat=True), max_new_tokens=8)
    prompt = " ".join(f"the cat {number}" for number in range(100))
    text = model.text(prompt, " sat")
    shown = "".join(model.shown_tokens(text)).replace("▁", " ")
    assert shown.startswith("<|im_start|>user\n")
    assert shown.endswith("the cat 99<|im_end|>\n<|im_start|>assistant\n sat")
    assert text.dropped > 0
    assert text.target_start == 96 - 8
    made = model.generate([prompt])[0]
    assert made.text.ids[: made.text.target_start] == text.ids[: text.target_start]
    assert len(made.text.ids) <= 96


def test_target_longer_than_the_context_is_an_error(llama):
    with pytest.raises(InputError, match="No room is left for the prompt"):
        llama.text("the", "cat " * 200)


@pytest.mark.parametrize(
    ("prompt", "target", "message"),
    [(5, "", "prompt must be text. Got int"), ("a", None, "target"), ("\ud800", "", "surrogate")],
)
def test_what_is_no_text(llama, prompt, target, message):
    with pytest.raises(InputError, match=message):
        llama.text(prompt, target)


@pytest.mark.parametrize("mask", [[1.0], [], [float("nan")] * 4, "no"])
def test_mask_of_another_length(llama, mask):
    with pytest.raises(InputError, match="target_mask must be"):
        llama.encode([llama.text("the cat", "")], [mask])


def test_mask_on_the_first_token_alone_asks_for_nothing(llama):
    text = llama.text("the cat", "")
    mask = [1.0] + [0.0] * (len(text.ids) - 1)
    scores, _, gradient = score_and_gradient(llama, CausalLM(), llama.encode([text], [mask]))
    assert scores.tolist() == [0.0]
    assert not gradient.any()


def test_mean_embeddings_by_hand(llama):
    texts = [llama.text(*pair) for pair in PAIRS] + [llama.text("the cat")]
    for text, (prompt, response) in zip(texts, llama.mean_embeddings(texts), strict=True):
        states = llama.model.model(torch.tensor([text.ids])).last_hidden_state[0].numpy()
        start = text.target_start
        np.testing.assert_allclose(prompt, states[:start].mean(0), rtol=1e-4, atol=1e-4)
        expected = states[start:].mean(0) if len(text.ids) > start else states[start - 1]
        np.testing.assert_allclose(response, expected, rtol=1e-4, atol=1e-4)


def test_batches_are_bounded_by_tokens(llama, monkeypatch):
    monkeypatch.setattr("lit_plugins.models.language_model.TOKENS_PER_BATCH", 20)
    texts = [llama.text("a" * size) for size in (3, 30, 4, 5, 12, 3)]
    groups = list(llama.in_batches(texts))
    assert sorted(place for group in groups for place in group) == list(range(6))
    for group in groups:
        assert len(group) == 1 or len(group) * max(len(texts[i].ids) for i in group) <= 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 97}, "context of 96"),
        ({"max_length": 20, "max_new_tokens": 20}, "leaves no room"),
    ],
)
def test_options_that_do_not_fit_the_model(options, message):
    with pytest.raises(SpecError, match=message):
        tiny.hf_model("llama", **options)


def test_a_model_that_uses_more_than_its_embeddings_is_refused():
    """As Gemma 3n does: the token ids go in again, further on."""
    module = tiny.hf_module("llama")
    forward = module.forward

    def with_ids(input_ids=None, **rest):
        output = forward(input_ids=input_ids, **rest)
        if input_ids is not None:
            output.logits = output.logits + input_ids.float().mean()
        return output

    module.forward = with_ids
    with pytest.raises(SourceError, match="would not explain it"):
        HFCausalLM(module, tiny.byte_fallback_tokenizer(), ModelOptions(), "odd")


def test_damaged_weights_are_refused():
    module = tiny.hf_module("llama")
    with torch.no_grad():
        module.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(SourceError, match="not finite"):
        HFCausalLM(module, tiny.byte_fallback_tokenizer(), ModelOptions(), "damaged")
