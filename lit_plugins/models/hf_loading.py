"""Loading Hugging Face checkpoints on torch: what all kinds of models have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import transformers

from lit_plugins.errors import LitPluginsError, SourceError, SpecError
from lit_plugins.sources import ModelOptions


def config_of(path: str, options: ModelOptions, description: str) -> Any:
    """The checkpoint's config. Raises SourceError."""
    with loading(description):
        return transformers.AutoConfig.from_pretrained(path, **_common(options))


def load(
    auto: Any, path: str, options: ModelOptions, description: str, what: str
) -> tuple[Any, Any]:
    """A model of one of transformers' Auto classes, and its tokenizer.

    Raises SourceError when they cannot be loaded, or have no weights for a part of the model,
    which would be random: `what` says what was expected. SpecError if the device cannot be used.
    """
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = str(torch.device(device))
    except RuntimeError:
        raise SpecError(
            f"device={device} is not a torch device. Expected cpu, cuda, cuda:1, mps."
        ) from None
    dtype = options.dtype or ("float32" if device == "cpu" else "auto")
    with loading(description):
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, **_common(options))
        loaded: Any = auto.from_pretrained(
            path, dtype=dtype, output_loading_info=True, **_common(options)
        )
    model, info = loaded
    if missing := sorted(info["missing_keys"]):
        raise SourceError(
            f"{description} has no weights for {', '.join(missing[:3])} and "
            f"{max(0, len(missing) - 3)} more: random ones would take their place. Expected the "
            f"whole checkpoint of a {what}."
        )
    try:
        return model.to(device), tokenizer
    except (RuntimeError, AssertionError) as error:
        raise SpecError(
            f"device={device} cannot be used: {first_line(error)}. Try device=cpu."
        ) from None


@contextlib.contextmanager
def loading(description: str) -> Iterator[None]:
    """Within the context, whatever goes wrong is a SourceError that names the model."""
    try:
        yield
    except LitPluginsError:
        raise
    except Exception as error:  # whatever a damaged or unknown checkpoint leads to
        raise SourceError(f"{description} cannot be loaded: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]


def _common(options: ModelOptions) -> dict[str, Any]:
    common = {"trust_remote_code": options.trust_remote_code, "revision": options.revision}
    return {key: value for key, value in common.items() if value}
