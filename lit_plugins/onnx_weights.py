"""Weights of ONNX files, dequantised and under the names that transformers gives them.

What onnxruntime's quantiser writes is read: int8 and uint8 tensors with a scale for all
or for each output (`NAME_quantized`, `NAME_scale`, `NAME_zero_point`), and 4-bit blocks of
`MatMulNBits` and `GatherBlockQuantized`. Nothing of a graph is run. ONNX is protobuf, of
which three messages matter here, so they are read without the package `onnx`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lit_plugins.errors import SourceError

# ONNX's numbers of element types, as numpy knows them.
_DTYPES = dict(
    zip(
        (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13),
        ("<f4", "u1", "i1", "<u2", "<i2", "<i4", "<i8", "?", "<f2", "<f8", "<u4", "<u8"),
        strict=True,
    )
)

_LINEAR = ("MatMul", "MatMulInteger", "MatMulNBits")
_DEFAULT_ZERO_POINT = 8  # the middle of what 4 bits can say


@dataclass(frozen=True)
class Node:
    """One operation: names of what goes in and out, and the attributes that are whole numbers."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, int]


@dataclass(frozen=True)
class Graph:
    """The operations in order, and the tensors that the file holds."""

    nodes: tuple[Node, ...]
    tensors: dict[str, np.ndarray]


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the file's weights in float32, by transformers' names: a model's state dict.

    Those of linear layers are (outputs, inputs), which ONNX stores transposed. Exporters
    drop their names; the name is then told from the bias that the graph adds.

    Raises:
        SourceError: the file is corrupt, or holds what this module does not know.

    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"ONNX file '{path}' cannot be read ({error.strerror}). Check the path."
        ) from error
    try:
        return dequantise(read_graph(memoryview(data)))
    except SourceError as error:
        raise SourceError(f"ONNX file '{path}': {error}") from None
    except (IndexError, KeyError, ValueError, TypeError, ArithmeticError) as error:
        raise SourceError(
            f"Corrupt ONNX file '{path}': {type(error).__name__}: {error}. Fetch it again."
        ) from error


# ------------------------------------------------------------------- reading


def read_graph(data: memoryview) -> Graph:
    """Parse a ModelProto. Raises ValueError, IndexError or KeyError where it makes no sense."""
    graphs = [value for number, value in _fields(data) if number == 7]
    if len(graphs) != 1:
        raise ValueError(f"{len(graphs)} graphs instead of 1")
    nodes: list[Node] = []
    tensors: dict[str, np.ndarray] = {}
    for number, value in _fields(graphs[0]):
        if number == 1:
            nodes.append(_node(value))
        elif number == 5:
            name, array = _tensor(value)
            tensors[name] = array
    return Graph(tuple(nodes), tensors)


def _varint(data: memoryview, start: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first; and where it ends."""
    value = shift = 0
    while True:
        byte = data[start]
        start += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, start
        if shift > 63:
            raise ValueError("a number has more than 64 bits")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """A message's fields: number, and content. A plain number's content is its own bytes."""
    start = 0
    while start < len(data):
        key, start = _varint(data, start)
        number, wire = key >> 3, key & 7
        if wire == 0:
            _, end = _varint(data, start)
        elif wire == 2:
            length, start = _varint(data, start)
            end = start + length
        elif wire in (1, 5):
            end = start + (8 if wire == 1 else 4)
        else:
            raise ValueError(f"wire type {wire}")
        if end > len(data):
            raise ValueError(f"it ends {end - len(data):,} bytes too early")
        yield number, data[start:end]
        start = end


def _numbers(data: memoryview) -> list[int]:
    """Signed 64-bit numbers, one or many packed together."""
    numbers, start = [], 0
    while start < len(data):
        value, start = _varint(data, start)
        numbers.append(value - (1 << 64) if value >> 63 else value)
    return numbers


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8")


def _node(data: memoryview) -> Node:
    inputs, outputs, op = [], [], ""
    attributes: dict[str, int] = {}
    for number, value in _fields(data):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            op = _text(value)
        elif number == 5:
            parts = dict(_fields(value))
            if 1 in parts and 3 in parts:
                attributes[_text(parts[1])] = _numbers(parts[3])[0]
    return Node(op, tuple(inputs), tuple(outputs), attributes)


def _tensor(data: memoryview) -> tuple[str, np.ndarray]:
    shape: list[int] = []
    name, kind, values = "", 0, None
    for number, value in _fields(data):
        if number == 1:
            shape += _numbers(value)
        elif number == 2:
            kind = _numbers(value)[0]
        elif number == 8:
            name = _text(value)
        elif number in (4, 9, 10):  # floats, raw bytes, doubles: little-endian, all of them
            values = value
        elif number in (5, 7, 11):  # whole numbers, each as a varint
            values = [*(values or []), *_numbers(value)]
        elif number == 13 or (number == 14 and _numbers(value)[0]):
            raise SourceError(
                f"tensor '{name}' lies in another file. Export the model into one file."
            )
    if kind not in _DTYPES:
        raise SourceError(
            f"tensor '{name}' has ONNX's element type {kind}; plain numbers of 8 to 64 bits "
            "can be read. Export the model anew."
        )
    dtype = np.dtype(_DTYPES[kind])
    if values is None:
        array = np.empty(0, dtype)
    elif isinstance(values, list):
        array = np.array(values).astype(dtype)
    else:
        array = np.frombuffer(values, dtype)
    if array.size != np.prod(shape, dtype=np.int64) or min(shape, default=0) < 0:
        raise ValueError(f"tensor '{name}' of shape {shape} has {array.size:,} values")
    return name, array.reshape(shape)


# --------------------------------------------------------------- dequantising


def dequantise(graph: Graph) -> dict[str, np.ndarray]:
    """Name and dequantise every weight; see `read_weights`."""
    left = dict(graph.tensors)
    weights: dict[str, np.ndarray] = {}
    consumers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            consumers.setdefault(name, []).append(node)

    def add(name: str, values: np.ndarray) -> None:
        if name in weights:
            raise SourceError(f"weight '{name}' is there twice. Export the model anew.")
        weights[name] = np.ascontiguousarray(values, dtype=np.float32)

    for node in graph.nodes:
        if node.op == "GatherBlockQuantized":
            parts = [left.pop(node.inputs[0]), *_taken(left, node.inputs[2:4])]
            add(_plain(node.inputs[0]), _gathered(node, *parts))
        elif node.op in _LINEAR and len(node.inputs) > 1 and node.inputs[1] in left:
            stored = node.inputs[1]
            name = _linear_name(node, consumers, graph.tensors)
            if node.op == "MatMulNBits":
                if any(node.inputs[4:5]):
                    raise SourceError(f"weight '{name}' has its columns in another order (g_idx).")
                parts = [left.pop(stored), *_taken(left, node.inputs[2:4])]
                add(name, _blocks(node, *parts))
            elif node.op == "MatMulInteger":
                add(name, _integers(left, stored).T)
            else:
                add(name, left.pop(stored).T)
    for name in [name for name in left if name.endswith("_quantized")]:
        add(name.removesuffix("_quantized"), _integers(left, name))
    for name, array in left.items():
        add(name, array)
    return weights


def _taken(tensors: dict[str, np.ndarray], names: tuple[str, ...]) -> list[np.ndarray]:
    return [tensors.pop(name) for name in names if name]


def _plain(name: str) -> str:
    for suffix in ("_quantized", "_Q4", "_Q4G"):
        name = name.removesuffix(suffix)
    return name


def _linear_name(
    node: Node, consumers: dict[str, list[Node]], tensors: dict[str, np.ndarray]
) -> str:
    """`layer.weight` for a product to which, cast and scaled perhaps, `layer.bias` is added."""
    step = node
    for _ in range(4):
        for name in step.inputs if step.op == "Add" else ():
            if name in tensors and name.endswith(".bias"):
                return name.removesuffix("bias") + "weight"
        following = consumers.get(step.outputs[0], [])
        if len(following) != 1:
            break
        step = following[0]
    name = _plain(node.inputs[1])
    if not name.endswith(".weight"):
        raise SourceError(
            f"weight '{name}' has lost its name, and no bias tells it. Export the model anew, "
            "without folding constants."
        )
    return name


def _integers(tensors: dict[str, np.ndarray], stored: str) -> np.ndarray:
    """(q - zero point) * scale, with one scale for all or one for each of the last axis."""
    base = stored.removesuffix("_quantized")
    values, scale = tensors.pop(stored), tensors.pop(f"{base}_scale")
    zero = tensors.pop(f"{base}_zero_point", np.zeros((), np.int32))
    for part in (scale, zero):
        if part.size != 1 and part.shape != values.shape[-1:]:
            raise ValueError(f"'{base}' of shape {values.shape} has scales of shape {part.shape}")
    return (values.astype(np.float32) - zero.astype(np.float32)) * scale


def _nibbles(values: np.ndarray) -> np.ndarray:
    """Two 4-bit numbers from each byte, the low one first, along the last axis."""
    if values.dtype != np.uint8:
        raise ValueError(f"4-bit values in {values.dtype} instead of uint8")
    pairs = np.stack([values & 15, values >> 4], axis=-1)
    return pairs.reshape(*values.shape[:-1], -1)


def _scaled(
    values: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, block: int
) -> np.ndarray:
    """Blocks of (rows, columns) values, with a scale and a zero point for each block of a row.

    A row's last block may be shorter. `zero` is packed as the values are, or as the scales.
    """
    rows, columns = values.shape
    count = -(-columns // block)
    scale = scale.reshape(rows, count)
    if zero is None:
        zero = np.full_like(scale, _DEFAULT_ZERO_POINT)
    elif zero.dtype == np.uint8:
        zero = _nibbles(zero.reshape(rows, -(-count // 2)))[:, :count]
    which = np.arange(columns) // block
    zero = zero.reshape(rows, count).astype(np.float32)[:, which]
    return (values.astype(np.float32) - zero) * scale.astype(np.float32)[:, which]


def _four_bits(node: Node, bits: int) -> None:
    if bits != 4:
        raise SourceError(f"{node.op} with {bits} bits; only 4 can be read. Export it anew.")


def _blocks(
    node: Node, values: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None
) -> np.ndarray:
    """(outputs, inputs) of a `MatMulNBits`, whose bytes are (outputs, blocks, bytes of a block)."""
    given = node.attributes
    _four_bits(node, given.get("bits", 4))
    rows, columns, block = given["N"], given["K"], given["block_size"]
    numbers = _nibbles(values).reshape(rows, -(-columns // block) * block)[:, :columns]
    return _scaled(numbers, scale, zero, block)


def _gathered(
    node: Node, values: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None
) -> np.ndarray:
    """(entries, dim) of a `GatherBlockQuantized`, an embedding."""
    given = node.attributes
    _four_bits(node, given.get("bits", 4))
    if given.get("gather_axis", 0) != 0 or given.get("quantize_axis", 1) not in (-1, 1):
        raise SourceError(f"{node.op} with axes {given}; only rows of blocks can be read.")
    return _scaled(_nibbles(values), scale, zero, given.get("block_size", 128))
