"""Write llms.txt: every page of the site with its title and its first sentence (llmstxt.org)."""

import re
from pathlib import Path

from docutils import nodes

SECTIONS = {"": "Guide", "variants/": "Variants", "auto_examples/": "Examples", "api/": "Reference"}


def first_sentence(doctree):
    """Return the first sentence of a page that is neither in a note, nor in a list or table."""
    for node in doctree.findall(nodes.paragraph):
        if not isinstance(node.parent, (nodes.Admonition, nodes.list_item, nodes.entry)):
            text = " ".join(node.astext().split())
            return re.split(r"(?<=[.!?])(?<!al\.)\s(?=[A-Z`])", text)[0].rstrip(":")
    return ""


def write(app, exception):
    if exception or app.builder.format != "html":
        return
    env = app.env
    lines = {section: [] for section in (*SECTIONS.values(), "Project")}
    for page in sorted(env.found_docs):
        if page == app.config.root_doc:
            continue
        folder = f"{page.rpartition('/')[0]}/" if "/" in page else ""
        url = app.config.html_baseurl + app.builder.get_target_uri(page)
        text = first_sentence(env.get_doctree(page))
        entry = f"- [{env.titles[page].astext()}]({url})" + (f": {text}" if text else "")
        lines[SECTIONS.get(folder, "Project")].append(entry)
    summary = first_sentence(env.get_doctree(app.config.root_doc))
    sections = [f"## {name}\n\n" + "\n".join(rows) for name, rows in lines.items() if rows]
    text = "\n\n".join([f"# {app.config.project}", f"> {summary}", *sections]) + "\n"
    (Path(app.outdir) / "llms.txt").write_text(text, encoding="utf-8")


def setup(app):
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
