"""Sphinx settings. Warnings are errors, so nothing here may reach out to the network (no intersphinx)."""

from __future__ import annotations

import sys
from pathlib import Path

import bridgeio

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "bridgeio"
author = "The bridgeio authors"
project_copyright = f"2026, {author}"
version = release = bridgeio.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "evidence", "figures", "promises"]
exclude_patterns = ["_build", "listings", "performance"]
root_doc = "index"
html_theme = "furo"
html_title = f"bridgeio {release}"

# In docstrings a name in single backticks is a link where we document it, and plain code where others do.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
