"""Leave out members that skae's classes inherit from other packages, but for the usual ones."""

INHERITED = {"fit_transform", "fit_predict", "get_params", "set_params"}


def skip(app, what, name, member, skip, options):
    """Return True for a method or property of another package, None to leave it to autodoc."""
    function = member.fget if isinstance(member, property) else member
    if what != "class" or name in INHERITED or not callable(function):
        return None
    return None if str(getattr(function, "__module__", "")).startswith("skae") else True


def setup(app):
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
