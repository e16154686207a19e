"""Write llms.txt: every page of the site with its title and what it is about (llmstxt.org)."""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

SECTIONS = {"": "Guide", "variants": "Variants", "auto_examples": "Examples", "api": "Reference"}


def description(doctree):
    """Return the first sentence of a page below its title; without one, the titles of its parts."""
    for node in doctree.findall(nodes.paragraph):
        leads = isinstance(node.parent, nodes.section) and node.parent.parent is doctree
        if leads or isinstance(node.parent, addnodes.desc_content):
            text = " ".join(node.astext().split())
            return re.split(r"(?<=[.!?])(?<!al\.)\s(?=[A-Z`])", text)[0].rstrip(":")
    return "; ".join(title.astext() for title in list(doctree.findall(nodes.title))[1:])


def write(app, exception):
    if exception or app.builder.format != "html":
        return
    env = app.env
    lines = {section: [] for section in (*SECTIONS.values(), "Project")}
    for page in sorted(env.found_docs):
        if page == app.config.root_doc:
            continue
        folder = page.split("/")[0] if "/" in page else ""
        url = app.config.html_baseurl + app.builder.get_target_uri(page)
        text = description(env.get_doctree(page))
        entry = f"- [{env.titles[page].astext()}]({url})" + (f": {text}" if text else "")
        lines[SECTIONS.get(folder, "Project")].append(entry)
    summary = description(env.get_doctree(app.config.root_doc))
    sections = [f"## {name}\n\n" + "\n".join(rows) for name, rows in lines.items() if rows]
    text = "\n\n".join([f"# {app.config.project}", f"> {summary}", *sections]) + "\n"
    (Path(app.outdir) / "llms.txt").write_text(text, encoding="utf-8")


def setup(app):
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
