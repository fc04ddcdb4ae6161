"""GGUF files, converted once into folders in Hugging Face format.

Both frameworks load the folder: transformers as it is, keras-hub through its converters.
The weights are stored dequantised, exactly as a direct GGUF load would give them, so
nothing of the result depends on the detour.
"""

import functools
import hashlib
import importlib
import logging
import os
import re
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from lit_plugins.errors import SourceError
from lit_plugins.packaged import (
    cache_folder,
    disk_full,
    elapsed_bar,
    exclusive,
    is_disk_full,
    staging,
)

# Part of a converted folder's name: raise it when a change below makes old folders wrong.
VERSION = 1

# How llama.cpp splits text before byte-level BPE where transformers 5.23 does not know
# better: single digits first, then GPT-2's pattern. Without it a digit behind two spaces
# ("  3") gets other tokens than the model was trained on.
_SINGLE_DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell")

# One conversion at a time in a process: see `_calm`, and the memory two would need.
_CONVERTING = threading.Lock()

_REMEDY = "Download it again, or name another file."


def to_folder(
    gguf: Path, dtype: str = "float32", cache: Path | None = None, *, sha256: str | None = None
) -> Path:
    """Return the folder (config, safetensors, tokenizer) made from a GGUF file.

    It is made now if there is none yet: a minute or so, once.

    Args:
        gguf: the file.
        dtype: what the weights are stored in. float32 holds dequantised values exactly.
        cache: the cache folder; see `packaged.cache_folder`.
        sha256: the file's sum where it is known. Without it the file is told from others
            by path, size and time of change, because reading all of it takes long.

    Raises:
        SourceError: no such file, a corrupt one, an architecture transformers cannot read
            from GGUF, a full disk or a cache that cannot be written.

    """
    gguf = gguf.expanduser().absolute()
    status = _stat(gguf)
    identity = (
        sha256
        or hashlib.sha256(
            f"{gguf.resolve()}\0{status.st_size}\0{status.st_mtime_ns}".encode()
        ).hexdigest()
    )
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", gguf.stem)[:80]
    parent = cache_folder(cache) / "converted"
    home = parent / f"{stem}-{identity[:16]}-{dtype}-v{VERSION}"
    if not _is_complete(home):
        header = read_header(gguf)
        with exclusive(parent, home.name):
            if not _is_complete(home):
                _convert(gguf, header, dtype, home)
    return home


def check(gguf: Path) -> None:
    """Raise SourceError for a file that is not there or whose header is corrupt."""
    _stat(gguf)
    read_header(gguf)


def _stat(gguf: Path) -> os.stat_result:
    try:
        status = gguf.stat()
    except OSError as error:
        raise SourceError(
            f"GGUF file '{gguf}' cannot be read ({error.strerror}). Check the path."
        ) from error
    if not gguf.is_file():
        raise SourceError(f"'{gguf}' is not a file. Name the .gguf file itself.")
    return status


def _is_complete(home: Path) -> bool:
    # The folder appears in one step, so this only notices files that somebody deleted.
    return all(
        any(home.glob(pattern)) for pattern in ("config.json", "*.safetensors", "tokenizer.json")
    )


# ------------------------------------------------------------------ checking


@dataclass(frozen=True)
class Header:
    """What a GGUF file says about itself: arrays are left out of `metadata`, but counted.

    `parameters` is the number of weights in all tensors.
    """

    metadata: dict[str, Any]
    lengths: dict[str, int]
    parameters: int


# GGUF's type numbers of plain values, uint8 … float64. 8 is a string, 9 an array.
_SCALARS = dict(zip((*range(8), *range(10, 13)), "BbHhIif?Qqd", strict=True))


@dataclass
class _Reader:
    """Reads little-endian values one after another; running past the end is an `EOFError`."""

    file: BinaryIO
    size: int
    metadata: dict[str, Any] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)

    def raw(self, count: int) -> bytes:
        # A corrupt count must not make Python allocate terabytes.
        if count > 1 << 20 and count > self.size - self.file.tell():
            raise EOFError
        data = self.file.read(count)
        if len(data) != count:
            raise EOFError
        return data

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.raw(struct.calcsize("<" + code)))[0]

    def text(self) -> str:
        return self.raw(self.number("Q")).decode("utf-8", errors="replace")

    def value(self, kind: int, key: str) -> Any:
        if kind == 8:
            return self.text()
        if kind == 9:
            kind, count = self.number("I"), self.number("Q")
            self.lengths[key] = count
            if kind in _SCALARS:
                self.raw(count * struct.calcsize("<" + _SCALARS[kind]))
            else:
                for _ in range(count):
                    self.value(kind, key)
            return None
        return self.number(_SCALARS[kind])


def read_header(gguf: Path) -> Header:
    """Metadata and tensor list, checked: magic, version, and that no tensor's data is cut off.

    Reads the head of the file only, so it is quick however large the file.

    Raises:
        SourceError: the file is corrupt or no GGUF file.

    """
    try:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
    except ImportError as error:
        raise _missing(error) from error

    size = gguf.stat().st_size
    try:
        with gguf.open("rb") as file:
            reader = _Reader(file, size)
            magic = file.read(4)
            if magic != b"GGUF":
                raise SourceError(
                    f"'{gguf}' is not a GGUF file: it starts with {magic!r}. {_REMEDY}"
                )
            version = reader.number("I")
            if version not in (2, 3):
                raise SourceError(
                    f"'{gguf}' has GGUF version {version}; 2 and 3 can be read. "
                    "Convert the model again with a current llama.cpp."
                )
            tensors, keys = reader.number("Q"), reader.number("Q")
            for _ in range(keys):
                key = reader.text()
                reader.metadata[key] = reader.value(reader.number("I"), key)
            end = parameters = 0
            for _ in range(tensors):
                reader.text()
                count = 1
                for _ in range(reader.number("I")):
                    count *= reader.number("Q")
                block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(reader.number("I"))]
                end = max(end, reader.number("Q") + count // block * block_bytes)
                parameters += count
            alignment = reader.metadata.get("general.alignment", 32)
            end += -(-file.tell() // alignment) * alignment
    except OSError as error:
        raise SourceError(
            f"GGUF file '{gguf}' cannot be read ({error.strerror}). Check its permissions."
        ) from error
    except EOFError:
        raise SourceError(
            f"Corrupt GGUF file '{gguf}': it ends within its header ({size:,} bytes). {_REMEDY}"
        ) from None
    except (KeyError, ValueError, TypeError, ArithmeticError, MemoryError, RecursionError) as error:
        raise SourceError(
            f"Corrupt GGUF file '{gguf}': its header makes no sense "
            f"({type(error).__name__}: {error}). {_REMEDY}"
        ) from error
    if size < end:
        raise SourceError(
            f"Corrupt GGUF file '{gguf}': it has {size:,} bytes where its tensors need {end:,}. "
            f"{_REMEDY}"
        )
    for key in ("general.architecture", "tokenizer.ggml.model"):
        if not isinstance(reader.metadata.get(key), str):
            raise SourceError(
                f"GGUF file '{gguf}' lacks '{key}', so it is no complete language model. "
                "Name a file that holds a whole model with its tokenizer."
            )
    return Header(reader.metadata, reader.lengths, parameters)


# ---------------------------------------------------------------- converting


def _convert(gguf: Path, header: Header, dtype: str, home: Path) -> None:
    try:
        import accelerate  # noqa: F401  transformers reads GGUF only with it
        import torch
        import transformers
    except ImportError as error:
        raise _missing(error) from error

    weight_bytes = header.parameters * torch.finfo(getattr(torch, dtype)).bits // 8
    # Tokenizer files take a good hundred bytes a token (vocabulary and merges).
    needed = weight_bytes + 200 * header.lengths.get("tokenizer.ggml.tokens", 0)
    print(
        f"Converting {gguf.name} for loading, once ({needed / 1e6:,.0f} MB) …",
        file=sys.stderr,
    )
    steps = ["reading tokenizer", "dequantising weights", "writing"]
    with staging(home, needed) as folder:
        try:
            with _CONVERTING, _calm(transformers), elapsed_bar(steps, gguf.name) as next_step:
                next_step()
                tokenizer = _tokenizer(transformers, gguf, header)
                next_step()
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    gguf.parent, gguf_file=gguf.name, dtype=getattr(torch, dtype)
                )
                plain = _without_quantization(torch, model)
                next_step()
                plain.save_pretrained(folder)
                tokenizer.save_pretrained(folder)
        except SourceError:
            raise
        except Exception as error:
            if is_disk_full(error):
                raise disk_full(home) from error
            raise _unreadable(gguf, header, error) from error


def _missing(error: ImportError) -> SourceError:
    return SourceError(f"Reading GGUF files needs '{error.name}': pip install lit-plugins[hf]")


@contextmanager
def _calm(transformers: Any) -> Iterator[None]:
    """Make transformers read the file's head once instead of three times, and say nothing.

    The vocabulary makes the head slow to read: 10 s each time for Gemma's 262,144 tokens.
    All changes are undone at the end; `_CONVERTING` must be held.
    """
    import gguf

    reading: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    reader, tqdm = gguf.GGUFReader, reading.tqdm
    log.set_verbosity(logging.CRITICAL)
    log.disable_progress_bar()
    gguf.GGUFReader = functools.cache(lambda path: reader(path))  # pyright: ignore
    reading.tqdm = lambda items, **_: items
    try:
        yield
    finally:
        gguf.GGUFReader, reading.tqdm = reader, tqdm
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _tokenizer(transformers: Any, gguf: Path, header: Header) -> Any:
    """Read the tokenizer with transformers, and mend what is known to differ."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    architecture = header.metadata["general.architecture"]
    context = header.metadata.get(f"{architecture}.context_length")
    if context:
        tokenizer.model_max_length = int(context)
    if header.metadata.get("tokenizer.ggml.pre") in _SINGLE_DIGITS:
        from tokenizers import pre_tokenizers

        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
    return tokenizer


def _without_quantization(torch: Any, model: Any) -> Any:
    """Wrap the same tensors, not copied, in a model that no longer counts as quantised.

    `save_pretrained` would refuse, or write a config that asks for GGUF again.
    """
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    with torch.device("meta"):
        plain = type(model)(type(model.config).from_dict(config))
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain


def _unreadable(gguf: Path, header: Header, error: Exception) -> SourceError:
    architecture = header.metadata["general.architecture"]
    if "not supported" in str(error):
        from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

        known = ", ".join(sorted(GGUF_SUPPORTED_ARCHITECTURES))
        return SourceError(
            f"GGUF file '{gguf}' has architecture '{architecture}', which transformers cannot "
            f"read from GGUF. It reads: {known}. Use the model's safetensors folder instead."
        )
    lines = str(error).strip().splitlines() or [""]
    return SourceError(
        f"GGUF file '{gguf}' (architecture '{architecture}') cannot be converted: "
        f"{type(error).__name__}: {lines[0][:300]} Use the model's safetensors folder instead."
    )
