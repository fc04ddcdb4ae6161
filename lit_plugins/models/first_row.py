"""What a head never looks at is not computed: rows of the last layer, behind its attention.

The head of a classifier reads one row, the first token's. Behind the last layer's attention rows do
not meet any more, so all others are computed for nothing, a seventh of a model of six layers. In
models built like BERT one module takes what attention returns: it is given the first row alone.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import torch

_MODULE = re.compile(r"\.layer\.(\d+)\.attention\.output$")


def behind_attention(model: torch.nn.Module) -> torch.nn.Module | None:
    """The module behind the last layer's attention; None in models that are built otherwise."""
    found = {
        int(match[1]): module
        for name, module in model.named_modules()
        if (match := _MODULE.search(name))
    }
    return found[max(found)] if found else None


@contextlib.contextmanager
def alone(module: torch.nn.Module | None) -> Iterator[None]:
    """Within the context, the module is given the first row of each of its inputs."""

    def first(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(one[:, :1] for one in inputs)

    if module is None:
        yield
        return
    handle = module.register_forward_pre_hook(first)
    try:
        yield
    finally:
        handle.remove()
