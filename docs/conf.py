"""Configuration of the documentation site, which `make docs` builds."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import skae

project = "skae"
author = "The skae developers"
copyright = "the skae developers"
version = release = skae.__version__
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "reference_pages",
    "repository_links",
    "api_links",
    "llms_txt",
]
exclude_patterns = ["**sg_execution_times.rst", "backreferences"]
templates_path = ["_templates"]

# The pages are Markdown that a code host shows too.
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# One page for each public class and function. Types stand in the docstrings.
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "groupwise"
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"
add_module_names = False
default_role = "py:obj"

# Folders of examples in the order of the gallery.
EXAMPLES = ("dimensionality_reduction", "images", "outliers", "missing_values", "tables_and_labels")
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "subsection_order": [*(f"../examples/{name}" for name in EXAMPLES), "*"],
    "within_subsection_order": "FileNameSortKey",
    "filename_pattern": r"/plot_",
    "image_srcset": ["2x"],
    "backreferences_dir": "backreferences",
    "doc_module": ("skae",),
    "reference_url": {"skae": None},
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 0,
    "download_all_examples": False,
    "show_signature": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skae"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_show_sourcelink = False
html_copy_source = False
# Without an address, links in pages are relative, and llms.txt has relative ones too. Once there is
# one, set it here and see the comment on [project.urls] in pyproject.toml.
html_baseurl = ""
html_theme_options = {
    "logo": {"text": "skae"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": [], "auto_examples/index": []},
    "footer_start": ["copyright"],
    "footer_center": [],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "install": [], "project/changelog": []}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
