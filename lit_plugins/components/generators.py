"""LIT's own generators of counterfactual examples, so that they work with checked ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types
from lit_nlp.components import ablation_flip, core


def generators() -> dict[str, lit_components.Generator]:
    """LIT's generators, by name."""
    return core.default_generators() | {"Ablation Flip": AblationFlip()}


class AblationFlip(ablation_flip.AblationFlip):
    """Finds the fewest words whose removal flips a prediction.

    LIT's asks for predictions of shortened texts under the id of the whole one, which a server that
    checks ids refuses, and one that does not answers with what it has seen under it.
    """

    def generate(
        self,
        example: lit_types.JsonDict,
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        config: lit_types.JsonDict | None = None,
    ) -> list[lit_types.JsonDict]:
        """See lit_components.Generator."""
        found = super().generate(example, _WithoutIds(model), dataset, config)
        # LIT's share the example's own metadata, so that it would become its own parent.
        return [{**one, "_id": "", "_meta": {}} for one in found]


class _WithoutIds(lit_model.ModelWrapper):
    """A model that is asked about examples without their ids, so that no cache knows them."""

    def predict(
        self, inputs: Iterable[Mapping[str, Any]], *args: Any, **options: Any
    ) -> Iterable[Mapping[str, Any]]:
        """See lit_model.Model."""
        plain = [{key: value for key, value in one.items() if key != "_id"} for one in inputs]
        return self.wrapped.predict(plain, *args, **options)
