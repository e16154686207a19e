"""The site as a reader sees it, at the widths of a phone and of a screen, light and dark."""

import pytest

from tests.site.conftest import page_names
from tests.site.test_files import EXAMPLES
from tests.test_docs import PUBLIC_NAMES

pytestmark = pytest.mark.site

WIDTHS = (390, 1400)

IMAGES = """() => Promise.all([...document.images].map(async image => {
    image.loading = "eager";
    await image.decode().catch(() => null);
    return [image.currentSrc, image.naturalWidth];
}))"""

# The contrast of text with its background, as WCAG defines it, for the texts of the article.
CONTRAST = """() => {
    const channels = text => text.match(/[\\d.]+/g).map(Number);
    const luminance = rgb => {
        const [r, g, b] = rgb.slice(0, 3).map(c => c / 255)
            .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const background = element => {
        for (; element; element = element.parentElement) {
            const rgba = channels(getComputedStyle(element).backgroundColor);
            if (rgba.length < 4 || rgba[3] === 1) return rgba;
        }
        return [255, 255, 255];
    };
    const selector = "p, li, td, th, h1, h2, h3, a, code, pre, pre span, dt, .sd-card-text";
    return [...document.querySelectorAll("article.bd-article")]
        .flatMap(article => [...article.querySelectorAll(selector)])
        .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
        .filter(e => e.checkVisibility() && !e.matches(".headerlink, .sd-hide-link-text *"))
        .map(e => {
            const text = luminance(channels(getComputedStyle(e).color)) + 0.05;
            const ground = luminance(background(e)) + 0.05;
            return [Math.max(text, ground) / Math.min(text, ground), e.textContent.slice(0, 40)];
        });
}"""


@pytest.fixture
def problems(tab):
    """Return the list of errors that the console shows."""
    found = []

    def note(message):
        if message.type == "error":
            found.append(message.text)

    def fail(error):
        found.append(str(error))

    tab.on("console", note)
    tab.on("pageerror", fail)
    yield found
    tab.remove_listener("console", note)
    tab.remove_listener("pageerror", fail)


@pytest.mark.parametrize("page", page_names())
def test_page_is_readable(page, tab, problems):
    tab.set_viewport_size({"width": WIDTHS[-1], "height": 900})
    tab.goto(page, wait_until="load")
    assert tab.title()
    assert not [source for source, width in tab.evaluate(IMAGES) if width == 0]
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        tab.wait_for_selector(f"html[data-theme={scheme}]")
        weak = [text for ratio, text in tab.evaluate(CONTRAST) if ratio < 4.5]
        assert not weak, scheme
    assert not problems


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_search_finds(name, tab):
    tab.goto(f"search.html?q={name.rpartition('.')[2]}")
    tab.wait_for_selector(f"#search-results a[href*='api/{name}.html']")


def test_thumbnails_load(tab):
    tab.goto("auto_examples/index.html")
    shown = dict(tab.evaluate(IMAGES))
    for name in EXAMPLES:
        assert [width for source, width in shown.items() if f"{name}_thumb" in source] > [100]


def test_an_example_is_copied_without_prompts(tab):
    tab.goto("api/skae.Autoencoder.html")
    block = tab.locator(".doctest .highlight").first
    block.hover()
    block.locator("button.copybtn").click()
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert "import" in copied
    assert ">>>" not in copied
    compile(copied, "copied", "exec")


def test_formulas_are_drawn(tab):
    tab.goto("api/skae.Autoencoder.html")
    tab.wait_for_selector("mjx-container svg, mjx-container mjx-math")
