"""Builds the documentation: Sphinx, MyST and furo; reference tables come from the code."""

from __future__ import annotations

import sys
from pathlib import Path

from licensing_harness import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "licensing-harness"
author = "the licensing-harness maintainers"
copyright = author
release = version = __version__

extensions = ["myst_parser", "from_code"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"licensing-harness {__version__}"
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
