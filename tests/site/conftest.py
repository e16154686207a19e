"""The built site, served to a browser."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "output" / "site"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def page_names():
    """Return the paths of all pages in the site, but for parts of the theme."""
    names = (path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    return sorted(name for name in names if not name.startswith("_static/"))


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def site():
    """Return the folder of the site."""
    assert (SITE / "index.html").is_file(), f"{SITE} has no site: run `make docs-test`"
    return SITE


@pytest.fixture(scope="session")
def address(site):
    """Return the address at which the site is served, with a slash at its end."""
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser():
    """Return an installed Chromium or Chrome; none is downloaded."""
    sync_api = pytest.importorskip("playwright.sync_api")
    found = [path for name in CHROMIUM if (path := shutil.which(name))]
    assert found, f"needs one of {', '.join(CHROMIUM)}"
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def tab(browser, address):
    """Return a tab whose relative addresses are those of the site."""
    context = browser.new_context(base_url=address, viewport={"width": 1400, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context.new_page()
    context.close()
