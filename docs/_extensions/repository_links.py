"""Links between files of the repository, as links between pages of the site.

The pages are read on a code host as well, where `../benchmarks/README.md` is a file. On the site,
some files outside docs/ are pages of docs/project; other files of the repository are not linked.
"""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent
PAGES = {
    "README.md": "/index.md",
    "CHANGELOG.md": "/project/changelog.md",
    "CONTRIBUTING.md": "/project/contributing.md",
    "SECURITY.md": "/project/security.md",
    "benchmarks/README.md": "/project/benchmarks.md",
    "benchmarks/results.md": "/project/results.md",
}
FENCED = re.compile(r"(^```.*?^```)", re.M | re.S)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s:]+)(#[^)\s]*)?\)")


def relink(text, folder):
    """Return a Markdown text of a folder with links that are valid anywhere on the site."""

    def replace(match):
        label, path, anchor = match.groups()
        target = (folder / path).resolve()
        if target.is_relative_to(DOCS):
            return f"[{label}](/{target.relative_to(DOCS)}{anchor or ''})"
        page = PAGES.get(str(target.relative_to(DOCS.parent)))
        return f"[{label}]({page}{anchor or ''})" if page else label

    parts = FENCED.split(text)  # text, code, text, ...
    parts[::2] = [LINK.sub(replace, part) for part in parts[::2]]
    return "".join(parts)


def read_source(app, docname, source):
    path = app.env.doc2path(docname)
    if path.suffix == ".md":
        source[0] = relink(source[0], path.parent)


def read_included(app, relative_path, parent_docname, source):
    source[0] = relink(source[0], (DOCS / relative_path).resolve().parent)


def setup(app):
    app.connect("source-read", read_source)
    app.connect("include-read", read_included)
    return {"parallel_read_safe": True}
