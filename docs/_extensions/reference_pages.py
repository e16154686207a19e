"""What the pages of the reference leave out, and when they are written again.

They leave out members that skae's classes inherit from other packages, but for the usual ones, and
the fields of named tuples, which stand among the parameters.
"""

from pathlib import Path

INHERITED = {"fit_transform", "fit_predict", "get_params", "set_params"}


def skip(app, what, name, member, skip, options):
    """Return True for what is left out, None to leave the decision to autodoc."""
    if str(getattr(member, "__doc__", "")).startswith("Alias for field number"):
        return True
    function = member.fget if isinstance(member, property) else member
    if what != "class" or name in INHERITED or not callable(function):
        return None
    return None if str(getattr(function, "__module__", "")).startswith("skae") else True


def outdated(app, env, added, changed, removed):
    """Return the pages whose examples in the gallery have changed."""
    folder = Path(app.srcdir) / app.config.sphinx_gallery_conf["backreferences_dir"]
    pages = {f"api/{path.stem}": path.stat().st_mtime for path in folder.glob("*.examples")}
    return [page for page, time in pages.items() if time > env.all_docs.get(page, time) / 1e6]


def setup(app):
    app.connect("autodoc-skip-member", skip)
    app.connect("env-get-outdated", outdated)
    return {"parallel_read_safe": True}
