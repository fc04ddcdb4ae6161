"""A LIT whose client is not the one that our modules were made for: never an empty page."""

import shutil

import pytest
from playwright.sync_api import expect

from lit_plugins.server import lit_client

from .conftest import running

MODEL = ("--models=smollm2=hf:packaged:smollm2-135m-instruct", "--load=first_use")
OURS, STOCK = "signed-sequence-salience-module", "sequence-salience-module"

# Before LIT's bundle runs: what it defines lacks something.
NO_ELEMENT = """
const get = customElements.get.bind(customElements);
customElements.get = (name) => name === 'sequence-salience-module' ? undefined : get(name);
"""
NO_METHOD = """
const define = customElements.define.bind(customElements);
customElements.define = (name, made) => {
  define(name, made);
  if (name !== 'sequence-salience-module') return;
  delete Object.getPrototypeOf(Object.getPrototypeOf(made)).prototype.loadLatest;
};
"""


@pytest.fixture(scope="module")
def server():
    with running("other-client", *MODEL) as made:
        yield made


@pytest.mark.parametrize(
    ("script", "missing"),
    [(NO_ELEMENT, "There is no sequence-salience-module."), (NO_METHOD, "no loadLatest.")],
)
def test_what_is_missing_is_said_in_the_place_of_our_modules(page, server, script, missing):
    page.add_init_script(script)
    page.goto(server.url)
    expect(page.locator(OURS)).to_contain_text(missing)
    expect(page.locator(OURS)).to_contain_text("LIT's own layouts")
    expect(page.locator("lit-data-table tbody tr").first).to_be_visible()
    assert page.lit_errors == []


@pytest.mark.parametrize("lost", ["main.js", "core/server.js"])
def test_scripts_that_do_not_come_leave_no_empty_page(page, server, lost):
    page.route(f"**/lit_plugins/client/{lost}", lambda route: route.abort())
    page.goto(server.url)
    expect(page.locator(OURS)).to_contain_text("have not come")
    expect(page.locator("lit-data-table tbody tr").first).to_be_visible()
    assert page.lit_errors == []


@pytest.mark.parametrize(
    ("lacks", "shown", "absent", "said"),
    [
        (None, OURS, STOCK, "It has all the names"),
        ("runInterpreter", STOCK, OURS, "It lacks runInterpreter, which"),
    ],
)
def test_another_build(page, tmp_path, lacks, shown, absent, said):
    root = tmp_path / "client"
    shutil.copytree(lit_client.ROOT, root)
    bundle = root / "main.js"
    text = bundle.read_text("utf-8")
    bundle.write_text(text.replace(lacks, "other") if lacks else f"{text}\n// other", "utf-8")
    with running("other-build", *MODEL, f"--client_root={root}") as server:
        page.goto(server.url)
        expect(page.locator(shown)).to_be_visible()
        expect(page.locator(absent)).to_have_count(0)
        assert server.log.count(said) == 1
        page.goto("about:blank")  # a page that still asks is no clean end
