"""Where packaged content is found."""

import pytest

from lit_plugins import resources
from lit_plugins.errors import LitPluginsError


@pytest.mark.parametrize(("name", "kind"), [("datasets", "*.jsonl"), ("layouts", "*.toml")])
def test_folders_hold_content_and_no_python(name, kind):
    folder = resources.folder(name)
    assert folder.name == name
    assert list(folder.glob(kind))
    # An importable top-level `datasets` would shadow Hugging Face's.
    assert not list(folder.rglob("*.py"))


def test_installed_content_comes_first(tmp_path, monkeypatch):
    package = tmp_path / "lit_plugins"
    (tmp_path / "layouts").mkdir()
    package.mkdir()
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resources.folder("layouts") == tmp_path / "layouts"
    (package / "data" / "layouts").mkdir(parents=True)
    assert resources.folder("layouts") == package / "data" / "layouts"


def test_missing_content_says_install_again(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "lit_plugins")
    with pytest.raises(LitPluginsError, match="Install lit-plugins again"):
        resources.folder("datasets")
