"""How Sphinx builds these pages: `sphinx-build -W --keep-going -n -b html docs build/docs`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import flask_redis_events

project = "Flask-Redis-Events"
author = "The Flask-Redis-Events authors"
copyright = author
version = release = flask_redis_events.__version__

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
default_role = "literal"
highlight_language = "python"

html_theme = "furo"
html_title = f"Flask-Redis-Events {version}"
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# No intersphinx, as it needs a network: names of other packages are text.
nitpick_ignore_regex = [(r"py:.*", r"(?!flask_redis_events\b).*")]
