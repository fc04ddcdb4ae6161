"""Files are made here, byte by byte, by protobuf's rules; no size equals another."""

import numpy as np
import pytest

from lit_plugins.errors import SourceError
from lit_plugins.onnx_weights import read_weights

KINDS = {np.float32: 1, np.uint8: 2, np.int8: 3, np.int32: 6, np.int64: 7, np.float16: 10}


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    if isinstance(content, str):
        content = content.encode()
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name, array, *, values="raw"):
    """`raw` bytes, as most are stored, or typed `values` as small ones may be."""
    array = np.asarray(array)
    kind = field(2, KINDS[array.dtype.type])
    shape = b"".join(field(1, size) for size in array.shape)
    if values == "raw":
        data = field(9, array.tobytes())
    elif array.dtype == np.float32:
        data = field(4, array.tobytes())
    elif values == "packed":
        data = field(5, b"".join(varint(int(value)) for value in array.ravel()))
    else:
        data = b"".join(field(5, int(value)) for value in array.ravel())
    return field(5, shape + kind + field(8, name) + data)


def node(op, inputs, outputs, **attributes):
    content = b"".join(field(1, name) for name in inputs)
    content += b"".join(field(2, name) for name in outputs) + field(4, op)
    for name, value in attributes.items():
        content += field(5, field(1, name) + field(3, value) + field(20, 2))
    return field(1, content)


@pytest.fixture
def read(tmp_path):
    def read(*parts):
        path = tmp_path / "m.onnx"
        # A float attribute, another message and an unknown number stand around the graph.
        path.write_bytes(
            field(1, 9) + field(2, "test") + field(7, b"".join(parts)) + b"\x7d" + bytes(4)
        )
        return read_weights(path)

    return read


RANDOM = np.random.default_rng(0)


def test_plain_tensors_keep_their_names(read):
    values = RANDOM.normal(size=(3, 5)).astype(np.float32)
    found = read(tensor("a.weight", values), tensor("b", values[0].astype(np.float16)))
    assert found.keys() == {"a.weight", "b"}
    assert np.array_equal(found["a.weight"], values)
    assert found["b"].dtype == np.float32
    assert np.array_equal(found["b"], values[0].astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("values", ["raw", "packed", "one by one"])
@pytest.mark.parametrize(("dtype", "zero"), [(np.int8, -3), (np.uint8, 131)])
def test_one_scale_for_all(read, dtype, zero, values):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max + 1
    numbers = RANDOM.integers(low, high, (7, 4)).astype(dtype)
    found = read(
        tensor("e.weight_quantized", numbers, values=values),
        tensor("e.weight_scale", np.float32(0.25), values=values),
        tensor("e.weight_zero_point", np.asarray(zero, dtype), values=values),
        node("Gather", ["e.weight_quantized", "ids"], ["rows"]),
    )
    assert found.keys() == {"e.weight"}
    assert np.array_equal(found["e.weight"], (numbers.astype(np.float32) - zero) * 0.25)


def linear(outputs, inputs):
    """The nodes that onnxruntime's quantiser makes of a product; its weight has lost its name."""
    return (
        node("MatMulInteger", ["x", "onnx::1_quantized", "x_zero", "onnx::1_zero_point"], ["p"]),
        node("Cast", ["p"], ["c"], to=1),
        node("Mul", ["x_scale", "onnx::1_scale"], ["both"]),
        node("Mul", ["c", "both"], ["y"]),
        node("Add", ["block.3.dense.bias", "y"], ["z"]),
        tensor("block.3.dense.bias", np.zeros(outputs, np.float32)),
    )


def test_a_scale_for_each_output_and_the_name_from_the_bias(read):
    numbers = RANDOM.integers(-128, 128, (5, 3)).astype(np.int8)  # (inputs, outputs)
    scale = np.array([0.5, 2, 0.125], np.float32)
    zero = np.array([1, -7, 100], np.int8)
    found = read(
        tensor("onnx::1_quantized", numbers),
        tensor("onnx::1_scale", scale),
        tensor("onnx::1_zero_point", zero),
        *linear(3, 5),
    )
    assert found.keys() == {"block.3.dense.weight", "block.3.dense.bias"}
    expected = ((numbers.astype(np.float32) - zero) * scale).T
    assert found["block.3.dense.weight"].shape == (3, 5)
    assert np.array_equal(found["block.3.dense.weight"], expected)


def test_a_plain_product_is_turned_too(read):
    values = RANDOM.normal(size=(5, 3)).astype(np.float32)
    found = read(
        tensor("onnx::MatMul_9", values),
        tensor("d.bias", np.zeros(3, np.float32)),
        node("MatMul", ["x", "onnx::MatMul_9"], ["y"]),
        node("Add", ["y", "d.bias"], ["z"]),
        node("MatMul", ["z", "z"], ["square"]),
    )
    assert np.array_equal(found["d.weight"], values.T)


def packed(numbers):
    """Numbers below 16, two a byte along the last axis, the first one low."""
    numbers = np.asarray(numbers, np.uint8)
    if numbers.shape[-1] % 2:
        numbers = np.concatenate([numbers, np.zeros_like(numbers[..., :1])], -1)
    return numbers[..., ::2] | numbers[..., 1::2] << 4


@pytest.mark.parametrize("zeros", [None, "packed", "float"])
@pytest.mark.parametrize(("inputs", "flat"), [(37, False), (48, True), (11, False)])
def test_blocks_of_four_bits(read, inputs, flat, zeros):
    outputs, block = 5, 16
    count = -(-inputs // block)
    numbers = RANDOM.integers(0, 16, (outputs, count * block))
    scale = RANDOM.normal(size=(outputs, count)).astype(np.float32)
    zero = RANDOM.integers(0, 16, (outputs, count))
    names, more = ["x", "w_Q4", "w_scales"], []
    if zeros:
        stored = packed(zero) if zeros == "packed" else zero.astype(np.float32)
        names.append("w_zero_points")
        more.append(tensor("w_zero_points", stored.ravel() if flat else stored))
    else:
        zero = np.full_like(zero, 8)
    found = read(
        tensor("w_Q4", packed(numbers).reshape(outputs, count, block // 2)),
        tensor("w_scales", scale.ravel() if flat else scale),
        *more,
        node("MatMulNBits", names, ["y"], K=inputs, N=outputs, bits=4, block_size=block),
        node("Add", ["y", "d.bias"], ["z"]),
        tensor("d.bias", np.zeros(outputs, np.float32)),
    )
    blocks = numbers.reshape(outputs, count, block) - zero[..., None]
    expected = (blocks * scale[..., None]).reshape(outputs, -1)[:, :inputs]
    assert found.keys() == {"d.weight", "d.bias"}
    np.testing.assert_allclose(found["d.weight"], expected, rtol=1e-6)


@pytest.mark.parametrize("zeros", [False, True])
def test_an_embedding_of_four_bit_blocks(read, zeros):
    rows, dim, block = 7, 40, 16
    numbers = RANDOM.integers(0, 16, (rows, dim))
    scale = RANDOM.normal(size=(rows, 3)).astype(np.float32)
    zero = RANDOM.integers(0, 16, (rows, 3)) if zeros else np.full((rows, 3), 8)
    names = ["e.weight_Q4", "ids", "e_scales"]
    more = []
    if zeros:
        names.append("e_zeros")
        more.append(tensor("e_zeros", packed(zero)))
    found = read(
        tensor("e.weight_Q4", packed(numbers)),
        tensor("e_scales", scale),
        *more,
        node("GatherBlockQuantized", names, ["rows"], block_size=block, quantize_axis=1, bits=4),
    )
    which = np.arange(dim) // block
    expected = (numbers - zero[:, which]) * scale[:, which]
    assert found.keys() == {"e.weight"}
    np.testing.assert_allclose(found["e.weight"], expected, rtol=1e-6)


# ------------------------------------------------------------------- what is wrong


def test_no_file(tmp_path):
    with pytest.raises(SourceError, match=r"none\.onnx' cannot be read .*Check the path"):
        read_weights(tmp_path / "none.onnx")


def test_every_cut_is_noticed(tmp_path):
    whole = field(7, tensor("w", np.arange(6, dtype=np.float32)))
    path = tmp_path / "m.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"Corrupt ONNX file '.*m\.onnx': .*Fetch it again"):
            read_weights(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04" + bytes(20), "Corrupt ONNX file"),
        (b"\xff" * 30, "64 bits"),
        (field(7, b"") * 2, "2 graphs"),
        (field(7, field(5, field(1, 3) + field(2, 1) + field(8, "w") + field(9, bytes(8)))), "'w'"),
        (field(7, field(5, field(1, -1) + field(2, 1) + field(8, "w"))), "'w'"),
        (field(7, field(5, field(2, 8) + field(8, "w"))), "element type 8"),
        (field(7, field(5, field(2, 1) + field(8, "w") + field(14, 1))), "another file"),
        (field(7, field(1, field(4, b"\xff"))), "utf-8"),
    ],
)
def test_damage(tmp_path, data, words):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        read_weights(path)
    message = str(caught.value)
    assert words in message
    assert str(path) in message
    assert "\n" not in message


def test_random_damage_is_an_error_of_ours_or_none(tmp_path):
    weight = field(7, tensor("w_quantized", np.zeros((2, 3), np.int8)) + b"".join(linear(3, 2)))
    path = tmp_path / "m.onnx"
    failed = 0
    for _ in range(500):
        damaged = bytearray(weight)
        damaged[RANDOM.integers(len(damaged))] = RANDOM.integers(256)
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except SourceError:
            failed += 1
    assert failed > 50


def test_a_lost_name(read):
    values = np.zeros((5, 3), np.float32)
    product = node("MatMul", ["x", "onnx::MatMul_9"], ["y"])
    with pytest.raises(SourceError, match=r"'onnx::MatMul_9' has lost its name"):
        read(tensor("onnx::MatMul_9", values), product)


def test_a_missing_or_unfitting_scale(read):
    numbers = tensor("w_quantized", np.zeros((5, 3), np.int8))
    with pytest.raises(SourceError, match="w_scale"):
        read(numbers)
    with pytest.raises(SourceError, match=r"scales of shape \(5,\)"):
        read(numbers, tensor("w_scale", np.ones(5, np.float32)))


@pytest.mark.parametrize(
    ("names", "attributes", "words"),
    [
        (["x", "w", "s"], {"bits": 8}, "with 8 bits"),
        (["x", "w", "s", "", "order"], {"bits": 4}, "another order"),
    ],
)
def test_what_is_not_known(read, names, attributes, words):
    product = node("MatMulNBits", names, ["y"], K=4, N=2, block_size=16, **attributes)
    with pytest.raises(SourceError, match=words):
        read(
            tensor("w", np.zeros((2, 1, 8), np.uint8)),
            tensor("s", np.ones((2, 1), np.float32)),
            product,
            node("Add", ["y", "d.bias"], ["z"]),
            tensor("d.bias", np.zeros(2, np.float32)),
        )


def test_the_same_weight_twice(read):
    values = tensor("d.weight", np.zeros((5, 3), np.float32))
    product = node("MatMul", ["x", "onnx::9"], ["y"]) + node("Add", ["y", "d.bias"], ["z"])
    with pytest.raises(SourceError, match=r"'d\.weight' is there twice"):
        read(
            values,
            tensor("onnx::9", np.zeros((5, 3), np.float32)),
            tensor("d.bias", np.zeros(3, np.float32)),
            product,
        )
