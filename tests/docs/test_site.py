"""The site builds without a warning, asks no other host for anything, and its links lead somewhere."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import intervox
from intervox.recipe import Recipe
from intervox.recipe.parts import Part
from tests.conftest import ROOT
from tests.support.browser import BROWSER

pytestmark = pytest.mark.slow

pytest.importorskip("mkdocs", reason="the site needs the extra docs")

LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "audio": "src", "video": "src"}
LOADING_LINKS = {"stylesheet", "preload", "prefetch", "modulepreload", "preconnect", "dns-prefetch", "icon"}


class Page(HTMLParser):
    """What a page loads, where it links to, and which places it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.pictures_without_text = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag in LOADED and LOADED[tag] in given:
            self.loads.append(given[LOADED[tag]])
        if tag == "link" and LOADING_LINKS & set(given.get("rel", "").split()):
            self.loads.append(given["href"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "img" and not given.get("alt"):
            self.pictures_without_text += 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def built(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_page_is_built(built: dict[Path, Page], site: Path) -> None:
    sources = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert sources | {Path("tour.html")} <= {path.relative_to(site) for path in built}


def test_no_page_loads_anything_from_another_host(built: dict[Path, Page]) -> None:
    elsewhere = [
        f"{page.path.name}: {address}"
        for page in built.values()
        for address in page.loads
        if urlsplit(address).netloc
    ]
    assert not elsewhere


def test_no_style_loads_anything_from_another_host(site: Path) -> None:
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert "@import" not in text, style
        assert "url(http" not in text.replace('"', "").replace("'", ""), style
        assert "url(//" not in text.replace('"', "").replace("'", ""), style


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_asks_no_other_host_for_anything(site: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="it drives the browser")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    own = f"127.0.0.1:{server.server_port}"
    asked: list[str] = []
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        # A plain page with a figure, one of the API's reference, and the notebook.
        for name in ("index", "concepts/loss", "reference/models", "tour"):
            page.goto(f"http://{own}/{name}.html", wait_until="networkidle")
        browser.close()
    server.shutdown()
    assert any(own in url for url in asked)
    assert not [url for url in asked if urlsplit(url).netloc not in ("", own)]


def broken(built: dict[Path, Page], site: Path) -> Iterator[str]:
    for page in built.values():
        # The page of a wrong address stands anywhere: its links are from the root.
        if page.path.name == "404.html":
            continue
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                yield f"{page.path.relative_to(site)}: {link}"
            elif parts.fragment and target in built:
                place = unquote(parts.fragment)
                if place not in built[target].places:
                    yield f"{page.path.relative_to(site)}: {link}"


def test_no_link_inside_the_site_is_broken(built: dict[Path, Page], site: Path) -> None:
    assert not list(broken(built, site))


def test_every_picture_has_a_text(built: dict[Path, Page], site: Path) -> None:
    without = [str(path.relative_to(site)) for path, page in built.items() if page.pictures_without_text]
    assert not without


def test_the_reference_has_every_public_name(built: dict[Path, Page], site: Path) -> None:
    places = {place for path, page in built.items() if "reference" in path.parts for place in page.places}
    things = [getattr(intervox, name, None) for name in intervox.__all__ if name != "__version__"]
    names = {f"{thing.__module__}.{thing.__qualname__}" for thing in things if thing}
    assert names <= places


def test_the_recipes_page_has_every_part_and_field(site: Path) -> None:
    page = (site / "reference" / "recipe.html").read_text(encoding="utf-8")
    assert "{{" not in page
    waiting: list[type[Part]] = [Recipe]
    seen: set[type[Part]] = set()
    while waiting:
        part = waiting.pop()
        seen.add(part)
        assert all(f"<td><code>{name}</code></td>" in page for name in part.model_fields), part
        texts = [str(field.annotation) for field in part.model_fields.values()]
        named = {model for model in Part.__subclasses__() if any(model.__name__ in text for text in texts)}
        waiting += named - seen
    assert len(seen) > 10
