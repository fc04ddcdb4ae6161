"""Builds the documentation's site into build/site, and fails on whatever is wrong with it.

`make docs` runs it. Zensical's own strict mode finds dead links between pages. This finds the rest:
what is said on the way (docstrings that do not fit their signatures), pages that the navigation
lacks or has too much, dead links in what was made, and anything that a page would fetch from
elsewhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
# All that a build without problems says.
EXPECTED = re.compile(r"Build started|No issues found|Build finished in .*|")
# Attributes by which a page fetches something as it opens; of <link>, those of these kinds.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}
_ELSEWHERE = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^)'\"]*)")
FETCHED_LINKS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload"}


class Page(HTMLParser):
    """Of a page that was made: links, those of its navigation, what it fetches, its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.navigation: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
            if "md-nav__link" in found.get("class", "").split():
                self.navigation.append(found["href"])
        if address := found.get(FETCHED.get(tag, "")):
            self.fetched.append(address)
        if tag == "link" and FETCHED_LINKS & set(found.get("rel", "").split()):
            self.fetched.append(found["href"])


def problems(site: Path) -> list[str]:
    """What is wrong with a site that was made, a line each."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    listed = {site / "404.html", site / "index.html"}
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        if name == "404.html":
            continue  # its links begin at the site's root
        for link in [*page.links, *page.fetched]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.fetched and parts.scheme != "data":
                    found.append(f"{name}: fetches {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{name}: there is no {link}")
            elif parts.fragment and target in pages:
                wanted = unquote(parts.fragment)
                if wanted not in pages[target].anchors and not wanted.startswith("__"):
                    found.append(f"{name}: there is no place {link}")
            if name == "index.html" and link in page.navigation:
                listed.add(target)
    for path in sorted(set(pages) - listed):
        found.append(f"{path.relative_to(site).as_posix()}: is not in the navigation of mkdocs.yml")
    for path in sorted(site.rglob("*.css")):
        for address in _ELSEWHERE.findall(path.read_text("utf-8")):
            found.append(f"{path.relative_to(site).as_posix()}: fetches {address}")
    return found


def main() -> int:
    """Exit code 1 if anything is wrong."""
    program = Path(sys.executable).with_name("zensical")
    built = subprocess.run(
        [program, "build", "--clean", "--strict"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    said = [line for line in built.stdout.splitlines() if not EXPECTED.fullmatch(line.strip())]
    if built.returncode or said:
        print(built.stdout, file=sys.stderr)
        return 1
    wrong = problems(ROOT / "build" / "site")
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
