"""What the builder of the documentation's site finds in a bad site."""

from __future__ import annotations

import build_site

GOOD = """<link rel="stylesheet" href="a.css"><link rel="canonical" href="https://example.org">
<a class="md-nav__link" href="other.html">Other</a><h1 id="top">A</h1>
<a href="other.html#place">here</a> <a href="https://example.org/x">away</a> <a href="#top">up</a>
<img src="data:image/png;base64,AA==">"""
OTHER = '<a class="md-nav__link" href="index.html">Home</a><h2 id="place">B</h2>'


def made(folder, **pages):
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, "utf-8")
    (folder / "a.css").write_text("p { background: url(data:,) }", "utf-8")
    return build_site.problems(folder)


def test_a_good_site(tmp_path):
    assert made(tmp_path, index=GOOD, other=OTHER) == []


def test_a_bad_site(tmp_path):
    bad = (
        '<link rel="preconnect" href="https://fonts.example.org">'
        '<script src="//cdn.example.org/x.js"></script><img src="gone.png">'
        '<a href="gone.html">a</a> <a href="index.html#gone">b</a> <a href="#gone">c</a>'
    )
    (tmp_path / "b.css").write_text("@import url('https://fonts.example.org/css');", "utf-8")
    assert made(tmp_path, index=GOOD, other=OTHER, bad=bad) == [
        "bad.html: there is no gone.html",
        "bad.html: there is no place index.html#gone",
        "bad.html: there is no place #gone",
        "bad.html: fetches https://fonts.example.org",
        "bad.html: fetches //cdn.example.org/x.js",
        "bad.html: there is no gone.png",
        "bad.html: is not in the navigation of mkdocs.yml",
        "b.css: fetches https://fonts.example.org/css",
    ]
