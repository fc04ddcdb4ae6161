"""LIT's generators, behind a cache that checks ids."""

from __future__ import annotations

import pytest
from encoders import classifier
from lit_nlp.components import ablation_flip
from lit_nlp.lib import caching

from lit_plugins import datasets
from lit_plugins.components.generators import generators
from lit_plugins.server import build


@pytest.fixture
def cached(ready):
    from lit_plugins.models import kinds

    model = classifier(("NEGATIVE", "POSITIVE"))
    profile = kinds.profile_of_loaded(model, "tiny")
    made = build.lit_models("tiny", ready(model), profile, "")["tiny"]
    return caching.CachingModelWrapper(
        made, "tiny", strict_id_validation=True, id_hash_fn=caching.input_hash
    )


def _flip(generator, model):
    data = datasets.from_records([{"text": "ada lives in oslo"}, {"text": "we visit"}], "data")
    config = generator.config_spec() and {
        "Prediction key": "probas",
        "Fields to ablate": ["text"],
    }
    found = []
    for example in data.examples:
        known = example | {"_id": caching.input_hash(example)}
        found += generator.generate(known, model, data, config)
    return found


def test_ablation_flip_asks_without_ids(cached):
    flipped = _flip(generators()["Ablation Flip"], cached)
    assert flipped
    # The app writes into them: they must not share the example's own.
    assert all(one["_meta"] == {} and one["_id"] == "" for one in flipped)
    # What would be refused otherwise; if LIT mends it, ours is not needed any more.
    with pytest.raises(ValueError, match="does not match computed id"):
        _flip(ablation_flip.AblationFlip(), cached)


def test_all_of_lits_generators_are_there():
    assert set(generators()) == {"Ablation Flip", "Hotflip", "Scrambler", "Word Replacer"}
