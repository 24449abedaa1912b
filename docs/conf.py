"""Sphinx: `make docs` builds these pages into build/docs, without a network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]
os.environ["PYTHONPATH"] = str(DOCS.parent)  # for the kernels that execute the pages

import ebmlib  # noqa: E402

project = "ebmlib"
author = "the ebmlib developers"
release = version = ebmlib.__version__
extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "mathml",
    "reference",
]
html_math_renderer = "mathml"
smartquotes = False  # x' is a formula
toc_object_entries_show_parents = "hide"
default_role = "py:obj"

# Every reference must lead somewhere.  Docstrings name their parameters in single backticks, as
# numpydoc has it; those lead nowhere.
nitpicky = True
nitpick_ignore_regex = [(r"py:obj", r"[a-z_]+|X")]

# ---- pages that run --------------------------------------------------------------------------

myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_output_stderr = "error"

# ---- the reference ---------------------------------------------------------------------------

autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# ---- how it looks ----------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "ebmlib"
html_static_path = ["_static"]
html_css_files = ["ebmlib.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
