"""Bad input: a clear error, that names what was wrong and what to do, in bounded time."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tiny

from lit_plugins.attribution.explainer import Explainer
from lit_plugins.attribution.methods import METHODS
from lit_plugins.attribution.options import COMMON, Options, resolve
from lit_plugins.errors import InputError

PROMPT, TARGET = "the cat sat. the dog", " no mat"  # 13 tokens and 7


@pytest.fixture(scope="module")
def model():
    return tiny.hf_model("llama")


@pytest.fixture
def explainer(model):
    return Explainer(model)


def _refused(explainer, match, *what, **options):
    begin = time.perf_counter()
    with pytest.raises(InputError, match=match) as refused:
        explainer.explain(*(what or (PROMPT, TARGET)), **options)
    assert time.perf_counter() - begin < 5
    message = str(refused.value)
    assert len(message) < 700
    assert "\n" not in message.rstrip()
    assert "pydantic" not in message
    return message


# Methods and options.


@pytest.mark.parametrize(
    ("method", "match"),
    [
        ("integrated_gradient", r"Did you mean 'integrated_gradients'\? Available: grad_l2, "),
        ("gradl2", "Did you mean 'grad_l2'"),
        ("nonsense", "Unknown method 'nonsense'. Available: grad_l2, "),
        ("", "Unknown method ''"),
        ("x" * 10_000, "Unknown method 'xxx"),
        (None, "Unknown method None"),
        (3, "Unknown method 3"),
        (["grad_l2"], "Unknown method"),
    ],
)
def test_unknown_methods(explainer, method, match):
    message = _refused(explainer, match, method=method)
    for name in METHODS:
        assert name in message


@pytest.mark.parametrize(
    ("method", "option", "match"),
    [
        ("integrated_gradients", {"stpes": 3}, "Unknown option 'stpes'. Did you mean 'steps'"),
        ("integrated_gradients", {"base_line": 3}, "Did you mean 'baseline'"),
        ("lime", {"n_samples": 3}, "Unknown option 'n_samples'. Did you mean 'samples'"),
        ("grad_l2", {"zzz": 3}, r"Unknown option 'zzz'\. Available: output, each"),
        ("grad_l2", {"steps": 3}, "grad_l2 takes no option 'steps'. Available: output, each"),
        ("lime", {"window": 3}, "lime takes no option 'window'"),
        ("smooth_grad", {"baseline": "zero"}, "smooth_grad takes no option 'baseline'"),
    ],
)
def test_unknown_options(explainer, method, option, match):
    _refused(explainer, match, method=method, **option)


VALID = {
    "baseline": "zero",
    "baseline_text": "a",
    "steps": 3,
    "rule": "riemann_left",
    "tolerance": 0.1,
    "max_steps": 20,
    "path": "straight",
    "samples": 3,
    "noise": 0.1,
    "window": 3,
    "stride": 1,
    "perturb": "replace",
    "over": "first",
    "seed": 1,
}


@pytest.mark.parametrize("name", METHODS)
def test_each_method_takes_its_own_options_and_no_others(name):
    defaults = METHODS[name].defaults
    assert set(defaults) <= set(Options.model_fields)
    for option in Options.model_fields:
        if option in COMMON:
            continue
        assert option in VALID, "give the new option a valid value here"
        given = {option: VALID[option]} | ({"steps": 5} if option == "rule" else {})
        if option in defaults:
            chosen = resolve(name, defaults, given)
            assert getattr(chosen, option) == VALID[option]
        else:
            with pytest.raises(InputError, match=f"{name} takes no option '{option}'"):
                resolve(name, defaults, given)
    chosen = resolve(name, defaults, {})
    for key, value in defaults.items():
        assert getattr(chosen, key) == value
    # None is "not given".
    assert resolve(name, defaults, dict.fromkeys(Options.model_fields)) == chosen


@pytest.mark.parametrize(
    "given",
    [{"rule": "riemann_left"}, {"steps": 5, "max_steps": 9}, {"steps": 5, "tolerance": 0.1}],
)
def test_what_would_be_ignored_is_refused(given):
    row = METHODS["integrated_gradients"]
    with pytest.raises(InputError, match=r"fixed number of steps|are for steps=auto"):
        resolve(row.name, row.defaults, given)


def test_an_option_given_implies_others():
    lime = METHODS["lime"]
    assert resolve("lime", lime.defaults, {"pattern": "a"}).segment == "regex"
    assert resolve("lime", lime.defaults, {"baseline_text": "a"}).baseline == "text"
    with pytest.raises(InputError, match="given together"):
        resolve("lime", lime.defaults, {"pattern": "a", "segment": "word"})
    with pytest.raises(InputError, match="given together"):
        resolve("lime", lime.defaults, {"baseline_text": "a", "baseline": "zero"})
    with pytest.raises(InputError, match="given together"):
        resolve("lime", lime.defaults, {"baseline": "text"})
    with pytest.raises(InputError, match="given together"):
        resolve("lime", lime.defaults, {"segment": "regex"})


@pytest.mark.parametrize(
    ("method", "options", "match"),
    [
        ("integrated_gradients", {"steps": 0}, "steps is 0: expected 1 to 10000, or auto"),
        ("integrated_gradients", {"steps": -3}, "steps is -3: expected 1 to 10000"),
        ("integrated_gradients", {"steps": 10**9}, "steps is 1000000000: expected 1 to 10000"),
        ("integrated_gradients", {"steps": 10**400}, "steps"),
        ("integrated_gradients", {"steps": 1.5}, "steps is 1.5: .*whole number, or auto"),
        ("integrated_gradients", {"steps": "many"}, "steps is 'many': .*whole number, or auto"),
        ("integrated_gradients", {"steps": float("nan")}, "steps is nan"),
        ("integrated_gradients", {"steps": [3]}, r"steps is \[3\]"),
        ("integrated_gradients", {"tolerance": 0}, "tolerance is 0: .*greater than 0"),
        ("integrated_gradients", {"tolerance": 2}, "tolerance is 2"),
        ("integrated_gradients", {"max_steps": 10**9}, "max_steps is 1000000000"),
        ("integrated_gradients", {"rule": "simpson"}, "rule is 'simpson': .*'gauss_legendre'"),
        ("integrated_gradients", {"baseline": "black"}, "baseline is 'black': .*'zero'"),
        ("smooth_grad", {"samples": 0}, "samples is 0: .*greater than or equal to 1"),
        ("smooth_grad", {"samples": 10**9}, "samples is 1000000000: .*100000"),
        ("smooth_grad", {"noise": -1}, "noise is -1"),
        ("smooth_grad", {"noise": float("nan")}, "noise is nan"),
        ("smooth_grad", {"noise": float("inf")}, "noise is inf"),
        ("smooth_grad", {"seed": -1}, "seed is -1"),
        ("smooth_grad", {"seed": 2**32}, "seed is 4294967296"),
        ("occlusion", {"window": 0}, "window is 0"),
        ("occlusion", {"stride": 0}, "stride is 0"),
        ("occlusion", {"window": 2, "stride": 3}, "stride is 3, window 2: .*left out"),
        ("occlusion", {"stride": 4}, "stride is 4, window 2"),
        ("occlusion", {"window": 10**6}, "window is 1000000, but the text has"),
        ("lime", {"segment": "chapter"}, "segment is 'chapter': .*'sentence'"),
        ("lime", {"perturb": "burn"}, "perturb is 'burn'"),
        ("lime", {"pattern": ""}, "pattern is ''"),
        ("lime", {"pattern": "a" * 2000}, "pattern is 'aaa"),
        ("lime", {"pattern": 5}, "pattern is 5"),
        ("grad_l2", {"output": "entropy"}, "output is 'entropy': .*'logprob'"),
        ("grad_l2", {"each": "perhaps"}, "each is 'perhaps'"),
        ("grad_l2", {"template": "burn"}, "template is 'burn': .*'keep'"),
        ("grad_l2", {"foil": " a", "runner_up": True}, "exclude each other"),
        ("grad_l2", {"foil": " a", "each": True}, "compared with the target as a whole"),
    ],
)
def test_values_out_of_range(explainer, method, options, match):
    _refused(explainer, match, method=method, **options)


def test_a_value_is_not_repeated_at_length(explainer):
    message = _refused(explainer, "segment is", method="lime", segment="x" * 100_000)
    assert len(message) < 400


# What is explained.


@pytest.mark.parametrize(
    ("foil", "match"),
    [
        ("", "foil is ''"),
        (5, "foil is 5"),
        (" no mat", "is the target itself"),
        (" no", "begins the other"),
        (" no mat no", "begins the other"),
        ("\u200b", "makes no tokens"),
    ],
)
def test_foils(explainer, model, foil, match, monkeypatch):
    own = model.tokenizer.encode
    monkeypatch.setattr(
        model.tokenizer, "encode", lambda text: [] if text.strip() == "\u200b" else own(text)
    )
    _refused(explainer, match, foil=foil)


def test_a_foil_of_parts_that_are_apart(explainer):
    mask = np.zeros(20)
    mask[[14, 17]] = 1
    _refused(explainer, "one run of target tokens", PROMPT, TARGET, mask, foil=" cat")
    mask[[14, 15, 17]] = 1, 2, 0
    _refused(explainer, "one run of target tokens", PROMPT, TARGET, mask, foil=" cat")


@pytest.mark.parametrize(
    ("span", "match"),
    [
        ("dog", r"span 'dog' is not in the target ' no mat'"),
        ("No", "is not in the target"),
        ("", "span '' is not in the target"),
        ("x" * 10_000, "is not in the target"),
        (20, r"span \(20, 21\) is outside the text.*<= 20"),
        (-1, r"span \(-1, 0\) is outside the text"),
        (10**12, "is outside the text"),
        ((5, 5), r"span \(5, 5\) is outside"),
        ((7, 5), r"span \(7, 5\) is outside"),
        ((13, 21), r"span \(13, 21\) is outside"),
        ((1.0, 3.0), r"span \(1.0, 3.0\) is outside"),
        (("no", "mat"), "is outside the text"),
        ([1.0], "one number for each of the 20 tokens.* Got 1 values"),
        ([1.0] * 21, "one number for each of the 20 tokens.* Got 21 values"),
        ([], "Got 0 values"),
        (["a"] * 20, "one number for each of the 20 tokens"),
        ([[1.0] * 20], "one number for each of the 20 tokens"),
        (["a", 1, None], "one number for each of the 20 tokens"),
        ([[1], [1, 2]], "one number for each of the 20 tokens"),
        (1.5, "one number for each of the 20 tokens"),
        ({"a": 1}, "one number for each of the 20 tokens"),
        ([float("nan")] * 20, "finite numbers"),
        ([float("inf")] + [0.0] * 19, "finite numbers"),
        ([0.0] * 20, "Nothing is selected"),
        ([1.0] + [0.0] * 19, "Nothing is selected"),
        (0, "Nothing is selected"),
    ],
)
def test_spans(explainer, span, match):
    _refused(explainer, match, PROMPT, TARGET, span)


@pytest.mark.parametrize(
    ("prompt", "target", "match"),
    [
        (PROMPT, "", "Nothing is selected.*the target is empty"),
        (5, TARGET, "prompt must be text. Got int"),
        (None, TARGET, "prompt must be text. Got NoneType"),
        (PROMPT, 5, "target must be text. Got int"),
        (PROMPT, b"no", "target must be text. Got bytes"),
        ("\ud800", TARGET, "surrogate"),
        (PROMPT, "cat " * 100, "No room is left for the prompt"),
    ],
)
def test_prompts_and_targets(explainer, prompt, target, match):
    _refused(explainer, match, prompt, target)


def test_nothing_to_take_away(explainer):
    """What is explained comes first: there is nothing before it but <bos>."""
    for method in ("feature_ablation", "leave_one_out", "kernel_shap"):
        _refused(explainer, "no segment to take away", "", "the", method=method, template="hold")


# Patterns.


@pytest.mark.parametrize(
    ("pattern", "match"),
    [
        ("zebra", "pattern 'zebra' matches nothing that can be explained"),
        ("x*", "matches nothing"),
        ("mat", "matches nothing"),  # explained itself
        ("(", r"pattern '\(' is no regular expression"),
        ("[a", "is no regular expression"),
    ],
)
def test_patterns(explainer, pattern, match):
    for method in ("leave_one_out", "grad_l2", "kernel_shap"):
        _refused(explainer, match, PROMPT, " mat", method=method, pattern=pattern, segment="regex")


def test_a_pattern_that_backtracks_for_ever(explainer):
    """Its time counts for all parts of the text, and in estimates, too."""
    prompt = "a" * 40 + "!"
    options = {"method": "leave_one_out", "pattern": r"(a|aa)+$|(a+)+\1b"}
    _refused(explainer, "takes longer than", prompt, " no", **options)
    begin = time.perf_counter()
    with pytest.raises(InputError, match="takes longer than"):
        explainer.estimate(prompt, " no", **options)
    assert time.perf_counter() - begin < 5


def test_options_cannot_be_changed():
    options = resolve("grad_l2", METHODS["grad_l2"].defaults, {})
    with pytest.raises(ValueError, match="frozen"):
        options.output = "prob"
    assert hash(options) == hash(resolve("grad_l2", {}, {"output": "logprob"}))


@pytest.mark.parametrize("name", METHODS)
def test_a_row_says_what_it_is(name):
    """What users read, and what the adapters build on."""
    method = METHODS[name]
    assert method.name == name
    assert callable(method.function())
    assert method.title
    assert method.description.endswith(".")
    assert "{}" in method.units
    # Unsigned scores can neither sum to a difference nor be summed.
    assert method.signed or not (method.additive or method.linear)
    assert not method.cheap or method.kept_pass
