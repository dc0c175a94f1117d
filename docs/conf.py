"""How the documentation is built: Sphinx with the furo theme, pages in Markdown, a warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import hauberk

project = "Hauberk"
author = "The Hauberk authors"
project_copyright = "The Hauberk authors, Apache License 2.0"
release = hauberk.__version__
version = release

extensions = ["myst_parser", "command_reference", "kind_reference", "problem_reference"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"Hauberk {release}"
html_copy_source = False
