"""Where a text enters a torch model: what its embedding layers return, taken out or replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch


def embedders(model: Any, run: Callable[[], Any]) -> list[torch.nn.Module]:
    """The modules that look tokens up in the model's embedding table when `run` is called.

    Most have one. The decoder of an encoder-decoder has another, which shares the table.
    """
    table = model.get_input_embeddings().weight
    called: dict[torch.nn.Module, None] = {}

    def see(module: torch.nn.Module, _: Any, __: Any) -> None:
        called[module] = None

    handles = [
        module.register_forward_hook(see)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding) and module.weight is table
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return list(called)


def returned(module: torch.nn.Module, run: Callable[[], Any]) -> torch.Tensor:
    """What a module returns when `run` is called."""
    seen: list[Any] = []
    handle = module.register_forward_hook(lambda _, __, made: seen.append(made))
    try:
        run()
    finally:
        handle.remove()
    return seen[0]


@contextlib.contextmanager
def embedded_as(
    modules: Sequence[torch.nn.Module], ids: torch.Tensor, values: torch.Tensor
) -> Iterator[None]:
    """Within the context, `ids` (batch, tokens) are embedded as `values` (batch, tokens, dim).

    Whether a module gets them as they are, turned around (XLNet), or one place later, behind a
    start token (the decoder of BART). What else it embeds stays as it is.
    """

    def replace(_: Any, args: Any, named: Any, made: torch.Tensor) -> torch.Tensor:
        given = args[0] if args else next(iter(named.values()))
        own = values.to(made.dtype)
        if _same(given, ids):
            return own
        if _same(given, ids.T):
            return own.transpose(0, 1)
        if given.shape == ids.shape and torch.equal(given[:, 1:], ids[:, :-1]):
            return torch.cat([made[:, :1], own[:, :-1]], dim=1)
        return made

    handles = [module.register_forward_hook(replace, with_kwargs=True) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def returning(module: torch.nn.Module, values: torch.Tensor) -> Iterator[None]:
    """Within the context, the module returns these values, whatever it is given."""
    handle = module.register_forward_hook(lambda _, __, made: values.to(made.dtype))
    try:
        yield
    finally:
        handle.remove()


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)
