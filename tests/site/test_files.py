"""The files of the site: links, what is listed, and how long the examples took."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.site.conftest import SITE, page_names
from tests.test_docs import PUBLIC_NAMES

pytestmark = pytest.mark.site

ROOT = Path(__file__).parents[2]
FOLDERS = {path.stem: path.parent.name for path in (ROOT / "examples").rglob("plot_*.py")}
EXAMPLES = sorted(FOLDERS)
OWN = {"index.html", "search.html", "genindex.html"}  # pages that llms.txt need not list


class Page(HTMLParser):
    """The links, the sources and the anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.sources, self.anchors = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors |= {attributes.get("id"), attributes.get("name")}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag == "link" and attributes.get("rel") in ("stylesheet", "icon", "preload"):
            self.sources.append(attributes["href"])
        if tag in ("img", "script", "iframe") and "src" in attributes:
            self.sources.append(attributes["src"])


@pytest.fixture(scope="module")
def pages(site):
    """Return every page by its path in the site."""
    return {name: Page(site / name) for name in page_names()}


def resolved(site, page, link):
    """Return the path of the file that a link of a page leads to, and its anchor."""
    parts = urlsplit(link)
    target = (site / page).parent / unquote(parts.path) if parts.path else site / page
    return target.resolve(), unquote(parts.fragment)


def is_external(link):
    return urlsplit(link).scheme in ("http", "https", "mailto")


def test_every_link_and_anchor_resolves(site, pages):
    broken = []
    for name, page in pages.items():
        for link in filter(lambda link: not is_external(link), page.links):
            target, anchor = resolved(site, name, link)
            found = target.is_file()
            if found and anchor and target.suffix == ".html":
                found = anchor in pages[target.relative_to(site).as_posix()].anchors
            if not found:
                broken.append((name, link))
    assert len(pages) > 50
    assert not broken


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for name, page in pages.items():
        for source in page.sources:
            if not source.startswith("data:"):
                assert not is_external(source), (name, source)
                assert resolved(site, name, source)[0].is_file(), (name, source)


TASKS = {
    "replace PCA": "variants.html#dimensionality-reduction",
    "detect outliers": "outliers.html",
    "fill missing values": "missing_values.html",
    "denoise images": "denoising_images.html",
    "learn from few labels": "few_labels.html",
    "save a model": "saving.html",
    "use a GPU": "how_it_works.html#training-on-a-gpu",
    "write a variant": "extending.html",
    "install": "install.html",
}


@pytest.mark.parametrize("task", TASKS)
def test_a_card_of_the_landing_page_leads_to_a_task(task, pages):
    assert TASKS[task] in pages["index.html"].links


def test_every_page_is_two_clicks_from_the_landing_page(site, pages):
    reached = {"index.html"}
    for _ in range(2):
        for name in list(reached):
            targets = [resolved(site, name, link)[0] for link in pages[name].links if link]
            reached |= {
                t.relative_to(site).as_posix()
                for t in targets
                if t.suffix == ".html" and t.is_relative_to(site)
            }
    assert set(pages) - reached <= {"search.html", "genindex.html"}


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_everything_public_has_a_page(name, pages):
    assert name in pages[f"api/{name}.html"].anchors


def test_llms_txt_lists_every_page(site, pages):
    text = (site / "llms.txt").read_text(encoding="utf-8")
    assert re.match(r"# skae\n\n> .+\n\n## Guide\n\n- \[", text)
    links = re.findall(r"^- \[[^\]]+\]\(([^)]+)\)(?:: (.+))?$", text, re.M)
    assert {link for link, _ in links} == set(pages) - OWN
    assert all(len(description) > 10 for _, description in links)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_has_a_notebook_a_picture_and_takes_less_than_30_seconds(name, site, pages):
    path = f"auto_examples/{FOLDERS[name]}/{name}.html"
    page = pages[path]
    downloads = {Path(link).name for link in page.links if "_downloads" in link}
    assert {f"{name}.ipynb", f"{name}.py"} <= downloads
    assert any(f"sphx_glr_{name}_001" in source for source in page.sources)
    text = (SITE / path).read_text(encoding="utf-8")
    minutes, seconds = re.search(r"\((\d+) minutes ([\d.]+) seconds\)", text).groups()
    assert 0 < 60 * int(minutes) + float(seconds) < 30
