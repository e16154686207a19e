"""Link a public name that a page of the guide writes as code to its page of the reference."""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

import skae
from skae import dask, displays, extension, inspection, metrics, model_selection, onnx

MODULES = (skae, displays, inspection, metrics, model_selection, extension)
CLASSES = {name: f"{m.__name__}.{name}" for m in reversed(MODULES) for name in m.__all__}
QUALIFIED = [f"{m.__name__}.{name}" for m in (dask, onnx) for name in m.__all__]  # not as `fit`
TARGETS = CLASSES | {name: name for name in (*CLASSES.values(), *QUALIFIED)}


class ApiLinks(SphinxTransform):
    """Turn `Autoencoder(2)` and `skae.save` into links, outside of titles and other links."""

    default_priority = 500

    def apply(self):
        if self.env.docname.startswith(("api/", "auto_examples/")):
            return
        for node in list(self.document.findall(nodes.literal)):
            target = TARGETS.get(re.sub(r"\(.*\)$", "", node.astext()))
            outer = (nodes.title, nodes.reference, addnodes.pending_xref)
            if target is None or isinstance(node.parent, outer):
                continue
            link = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=target, refdoc=self.env.docname
            )
            node.replace_self(link)
            link += node


def setup(app):
    app.add_transform(ApiLinks)
    return {"parallel_read_safe": True}
