"""Leave out members that a reader of the reference does not need.

They are those that skae's classes inherit from other packages, but for the usual ones, and the
fields of named tuples, which stand among the parameters.
"""

INHERITED = {"fit_transform", "fit_predict", "get_params", "set_params"}


def skip(app, what, name, member, skip, options):
    """Return True for what is left out, None to leave the decision to autodoc."""
    if str(getattr(member, "__doc__", "")).startswith("Alias for field number"):
        return True
    function = member.fget if isinstance(member, property) else member
    if what != "class" or name in INHERITED or not callable(function):
        return None
    return None if str(getattr(function, "__module__", "")).startswith("skae") else True


def setup(app):
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
