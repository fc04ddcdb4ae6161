import json
import subprocess
import sys

import pytest

from lit_plugins import packaged, sources
from lit_plugins.errors import SourceError, SpecError
from lit_plugins.sources import (
    Location,
    ModelOptions,
    ModelSpec,
    locate,
    model_from_mapping,
    parse_model,
    split_models,
)

# ------------------------------------------------------------------ parsing


@pytest.mark.parametrize(
    ("text", "name", "framework", "source", "kind"),
    [
        (
            "s=hf:packaged:smollm2-135m-instruct",
            "s",
            "hf",
            "packaged:smollm2-135m-instruct",
            "packaged",
        ),
        ("g3=keras:packaged:gemma3-270m", "g3", "keras", "packaged:gemma3-270m", "packaged"),
        ("g2=keras:gemma2_instruct_2b_en", "g2", "keras", "gemma2_instruct_2b_en", "preset"),
        ("a=keras:kaggle://keras/gemma/x/2", "a", "keras", "kaggle://keras/gemma/x/2", "preset"),
        ("a=keras:hf://google/gemma-3-270m", "a", "keras", "hf://google/gemma-3-270m", "preset"),
        ("a=keras:modelscope://o/n", "a", "keras", "modelscope://o/n", "preset"),
        ("a=hf:gpt2", "a", "hf", "gpt2", "hub"),
        ("My.model-1_b=hf:org/name.v1", "My.model-1_b", "hf", "org/name.v1", "hub"),
        ("a=hf:hf://org/name", "a", "hf", "org/name", "hub"),
        ("a=hf:~/models/x", "a", "hf", "~/models/x", "folder"),
        ("a=keras:./x", "a", "keras", "./x", "folder"),
        ("a=hf:../x.GGUF", "a", "hf", "../x.GGUF", "gguf"),
        ("a=keras:/m/x.gguf", "a", "keras", "/m/x.gguf", "gguf"),
        (" a = hf:/with space/x,y ", "a", "hf", "/with space/x,y", "folder"),
        ("a=hf:/really?/x", "a", "hf", "/really?/x", "folder"),
    ],
)
def test_every_kind_of_source_is_told_from_the_others(text, name, framework, source, kind):
    spec = parse_model(text)
    assert (spec.name, spec.framework, spec.source, spec.kind) == (name, framework, source, kind)
    assert spec.options == ModelOptions()
    assert parse_model(spec.text) == spec


def test_an_existing_folder_wins_over_a_hub_id(tmp_path, monkeypatch):
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert parse_model("a=hf:org/name").kind == "folder"
    assert parse_model("a=keras:org/name").kind == "folder"
    assert parse_model("a=hf:org/other").kind == "hub"


@pytest.mark.parametrize("divider", ["&", ","])
def test_options(divider):
    options = divider.join(
        [
            "dtype=bfloat16",
            "device=cuda:1",
            "revision=v1.0",
            "trust_remote_code=yes",
            "chat=off",
            "system=Be%20brief%2C%20please%3F%26",
            "max_length=512",
            "max_new_tokens=7",
            "temperature=0.5",
            "top_p=0.9",
            r"stop=\n\n",
            r"stop=a\\n%3d\d",
            "seed=3",
            "batch_size=2",
            "embeddings=0",
        ]
    )
    spec = parse_model(f"a=hf:org/name?{options}")
    assert spec.source == "org/name"
    assert spec.options == ModelOptions(
        dtype="bfloat16",
        device="cuda:1",
        revision="v1.0",
        trust_remote_code=True,
        chat=False,
        system="Be brief, please?&",
        max_length=512,
        max_new_tokens=7,
        temperature=0.5,
        top_p=0.9,
        stop=("\n\n", "a\\n=\\d"),
        seed=3,
        batch_size=2,
        embeddings=False,
    )
    assert parse_model(spec.text) == spec
    assert split_models(spec.text) == [spec.text]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, True) for word in ("true", "1", "yes", "on", "On")),
        *((word, False) for word in ("false", "0", "no", "off", "FALSE")),
    ],
)
@pytest.mark.parametrize("option", ["trust_remote_code", "embeddings", "chat"])
def test_truth_values(option, text, value):
    assert getattr(parse_model(f"a=hf:gpt2?{option}={text}").options, option) is value


def test_chat_takes_auto_or_a_template():
    assert parse_model("a=hf:gpt2?chat=auto").options.chat == "auto"
    assert parse_model("a=hf:gpt2?chat=/t/my.jinja").options.chat == "/t/my.jinja"


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec("a", "hf", "/odd?seed=1/x"),
        ModelSpec("a", "hf", "/odd?seed=1/x", ModelOptions(stop=("?x=1", "a,b=hf:c", "%41"))),
        ModelSpec("a", "hf", "gpt2", ModelOptions(system='é "\\n"\n\t\\ +&=')),
        ModelSpec("a", "hf", "gpt2", ModelOptions(chat=True, temperature=1e-7)),
    ],
)
def test_text_parses_back(spec):
    assert parse_model(spec.text) == spec


def test_a_name_from_elsewhere():
    assert parse_model("hf:gpt2?seed=1", name="x").name == "x"
    assert parse_model("hf:/a=b/c", name="x").source == "/a=b/c"
    assert parse_model("x=hf:gpt2", name="x").name == "x"
    with pytest.raises(SpecError, match="has a name already"):
        parse_model("y=hf:gpt2", name="x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hf:gpt2", ["no name", "gpt2=hf:gpt2"]),
        ("", ["no name"]),
        ("a=gpt2", ["no framework", "a=hf:gpt2", "a=keras:gpt2"]),
        ("a=packaged:gemma3-270m", ["no framework", "a=hf:packaged:gemma3-270m"]),
        (
            "a=torch:gpt2",
            ["Unknown framework 'torch'", "Did you mean 'hf'", "Available: hf, keras"],
        ),
        ("a=kerras:gpt2", ["Unknown framework 'kerras'", "Did you mean 'keras'"]),
        ("a=hf:", ["no source", "packaged:"]),
        ("a=hf:packaged:gemma3", ["Unknown packaged model", "Did you mean 'gemma3-270m'"]),
        ("a=hf:packaged:", ["Unknown packaged model ''", "Available: smollm2-135m-instruct"]),
        ("_a=hf:gpt2", ["name '_a'", "begin with a letter or digit"]),
        ("a&b=hf:gpt2", ["name 'a&b'"]),
        ("é=hf:gpt2", ["name 'é'"]),
        ("a=hf:org/na me", ["'org/na me'", "no hub id"]),
        ("a=hf:gpt2,gpt3", ["'gpt2,gpt3'", "NAME="]),
        ("a=hf:gpt2\0", ["unprintable"]),
        ("a=hf:https://host/x", ["no hub id"]),
        ("a=hf:kaggle://keras/gemma/x", ["Keras preset", "a=keras:kaggle://keras/gemma/x"]),
        ("a=keras:google/gemma", ["a=keras:hf://google/gemma", "a=keras:./google/gemma"]),
        ("a=keras:gs://bucket/x", ["no Keras preset", "kaggle://…"]),
        ("a=keras:hf://", ["no Keras preset"]),
        ("a=hf:gpt2?dtyp=float32", ["unknown option 'dtyp'", "Did you mean 'dtype'", "Available:"]),
        ("a=hf:gpt2?dtype=int8", ["'dtype'", "'int8'", "bfloat16"]),
        ("a=hf:gpt2?device=gpu", ["'device'", "'gpu'", "cuda:N"]),
        ("a=hf:gpt2?seed=1,seed=2", ["'seed' is given twice"]),
        ("a=hf:gpt2?seed=1,x", ["'x' has no value", "%2C"]),
        ("a=hf:gpt2?max_length=7", ["'max_length'", "'7'", "8"]),
        ("a=hf:gpt2?max_new_tokens=many", ["'max_new_tokens'", "'many'", "integer"]),
        ("a=hf:gpt2?temperature=-1", ["'temperature'"]),
        ("a=hf:gpt2?temperature=nan", ["'temperature'", "finite"]),
        ("a=hf:gpt2?top_p=0", ["'top_p'"]),
        ("a=hf:gpt2?batch_size=0", ["'batch_size'"]),
        ("a=hf:gpt2?chat=maybe", ["'chat'", "auto, on, off"]),
        ("a=hf:gpt2?stop=", ["'stop'", "empty"]),
        ("a=hf:gpt2?trust_remote_code=perhaps", ["'trust_remote_code'", "'perhaps'"]),
        ("a=keras:gpt2_base_en?device=cpu", ["'device'", "backend chooses"]),
        ("a=keras:gpt2_base_en?revision=1", ["'revision'", "kaggle://"]),
        ("a=keras:gpt2_base_en?trust_remote_code=on", ["'trust_remote_code'", "never runs"]),
        ("a=hf:./x?revision=main", ["'revision'", "hub ids only"]),
    ],
)
def test_errors_name_value_expectation_and_remedy(text, words):
    with pytest.raises(SpecError) as caught:
        parse_model(text)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("a=hf:x", ["a=hf:x"]),
        ("a=hf:x, b=keras:y,", ["a=hf:x", "b=keras:y"]),
        (
            "a=hf:x?dtype=float32,device=cuda:0,b=keras:y?stop=a%2Cb",
            ["a=hf:x?dtype=float32,device=cuda:0", "b=keras:y?stop=a%2Cb"],
        ),
        ("a=hf:x?stop=a:b,stop=c,b=hf:y", ["a=hf:x?stop=a:b,stop=c", "b=hf:y"]),
        ("a=hf:x,device=hf:y", ["a=hf:x", "device=hf:y"]),
        ("a=hf:x,b=torch:y", ["a=hf:x", "b=torch:y"]),
        ("a=hf:/x,y/z,b=hf:/v", ["a=hf:/x,y/z", "b=hf:/v"]),
        ("a=keras:kaggle://o/n,b=hf:packaged:x", ["a=keras:kaggle://o/n", "b=hf:packaged:x"]),
    ],
)
def test_split_models(text, pieces):
    assert split_models(text) == pieces


def test_mapping():
    table = {"source": "hf:gpt2?seed=1", "dtype": "float16", "stop": ["\\n", "b"], "chat": False}
    expected = ModelOptions(seed=1, dtype="float16", stop=("\\n", "b"), chat=False)
    assert model_from_mapping("a", table) == ModelSpec("a", "hf", "gpt2", expected)
    assert model_from_mapping("a", {"source": "hf:gpt2", "stop": "x"}).options.stop == ("x",)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("hf:gpt2", ["'a' must be a table", "'source'"]),
        ({}, ["needs source", "None"]),
        ({"source": 3}, ["needs source", "3"]),
        ({"source": "hf:gpt2?seed=1", "seed": 2}, ["'seed'", "Drop one"]),
        ({"source": "hf:gpt2", "sed": 2}, ["unknown option 'sed'", "Did you mean 'seed'"]),
        ({"source": "hf:gpt2", "stop": [1]}, ["'stop'", "[1]", "string"]),
        ({"source": "hf:gpt2", "device": 0}, ["'device'", "cuda:N"]),
    ],
)
def test_mapping_errors(table, words):
    with pytest.raises(SpecError) as caught:
        model_from_mapping("a", table)
    for word in words:
        assert word in str(caught.value)


# ----------------------------------------------------------------- locating


def model_folder(folder, *names):
    folder.mkdir()
    for name in names:
        (folder / name).write_text("{}")
    return folder


HF_FILES = ("config.json", "model.safetensors", "tokenizer.json")
KERAS_FILES = ("config.json", "model.weights.h5", "tokenizer.json")


def test_folders_hub_ids_and_presets_are_passed_on(tmp_path, monkeypatch):
    folder = model_folder(tmp_path / "m", *HF_FILES)
    keras = model_folder(tmp_path / "k", *KERAS_FILES)
    assert locate(parse_model(f"a=hf:{folder}")) == Location("folder", str(folder))
    assert locate(parse_model(f"a=keras:{folder}")) == Location("folder", str(folder))
    assert locate(parse_model(f"a=keras:{keras}")) == Location("folder", str(keras))
    assert locate(parse_model("a=hf:org/name")) == Location("hub", "org/name")
    assert locate(parse_model("a=keras:hf://o/n")) == Location("preset", "hf://o/n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate(parse_model("a=hf:m")) == Location("folder", str(folder))
    assert locate(parse_model("a=hf:~/m")) == Location("folder", str(folder))


def test_a_missing_folder_is_named_in_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="does not exist") as caught:
        locate(parse_model("a=hf:./nowhere"))
    assert str(tmp_path / "nowhere") in str(caught.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="is not a folder"):
        locate(parse_model("a=hf:./file"))
    with pytest.raises(SourceError, match="no known user"):
        locate(parse_model("a=hf:~nobody-of-that-name/x"))


@pytest.mark.parametrize("lost", range(3))
@pytest.mark.parametrize(
    ("framework", "files"), [("hf", HF_FILES), ("keras", HF_FILES), ("keras", KERAS_FILES)]
)
def test_an_incomplete_folder_says_what_is_missing(tmp_path, framework, files, lost):
    kept = [name for name in files if name != files[lost]]
    folder = model_folder(tmp_path / "m", *kept)
    with pytest.raises(SourceError, match="no complete model") as caught:
        locate(parse_model(f"a={framework}:{folder}"))
    word = ("no config.json", "no weights", "tokenizer.json")[lost]
    assert word in str(caught.value)


def test_folders_of_the_wrong_sort(tmp_path):
    keras = model_folder(tmp_path / "k", *KERAS_FILES)
    with pytest.raises(SourceError, match=f"Write a=keras:{keras}"):
        locate(parse_model(f"a=hf:{keras}"))
    gguf = model_folder(tmp_path / "g", "x.gguf")
    with pytest.raises(SourceError, match=f"Name the GGUF file itself: {gguf}/x.gguf"):
        locate(parse_model(f"a=hf:{gguf}"))
    broken = model_folder(tmp_path / "b", *HF_FILES)
    (broken / "config.json").write_text("{")
    with pytest.raises(SourceError, match="is no JSON file"):
        locate(parse_model(f"a=hf:{broken}"))


def test_a_missing_chat_template(tmp_path):
    with pytest.raises(SourceError, match=r"chat template .* does not exist"):
        locate(parse_model(f"a=hf:gpt2?chat={tmp_path}/x.jinja"))


def test_packaged_and_gguf_become_the_same_sort_of_folder(tmp_path, monkeypatch):
    calls = []

    def to_folder(path, dtype="float32", cache=None, *, sha256=None):
        calls.append((str(path), dtype, sha256))
        return tmp_path / "converted"

    monkeypatch.setattr(sources.gguf, "to_folder", to_folder)
    monkeypatch.setattr(sources.gguf, "check", lambda path: None)
    monkeypatch.setattr(packaged, "fetch", lambda name: tmp_path / name)
    expected = Location("folder", str(tmp_path / "converted"))
    sha = packaged.PACKAGED["gemma3-270m"].files[0].sha256
    for framework in sources.FRAMEWORKS:
        spec = f"a={framework}:packaged:gemma3-270m?dtype=bfloat16"
        assert locate(parse_model(spec)) == expected
        assert locate(parse_model(f"a={framework}:/x/m.gguf?dtype=bfloat16")) == expected
    assert (
        calls
        == [
            (str(tmp_path / "gemma3-270m"), "float32", sha),
            ("/x/m.gguf", "bfloat16", None),
        ]
        * 2
    )


def test_no_framework_is_imported(tmp_path):
    folder = model_folder(tmp_path / "m", *HF_FILES)
    code = (
        "import sys, json\n"
        "from lit_plugins import packaged, gguf, sources\n"
        f"sources.locate(sources.parse_model({json.dumps('a=hf:' + str(folder))}))\n"
        "bad = {'torch', 'tensorflow', 'keras', 'keras_hub', 'transformers', 'jax'}\n"
        "print(sorted(bad & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
