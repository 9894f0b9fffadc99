"""How Sphinx builds these pages: `sphinx-build -W --keep-going -n -b html docs build/docs`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import flask_redis_events  # noqa: E402

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

#: The wings of the package, from the ground up; "" stands for the modules beside them.
WINGS = ("", "wire", "broker", "server", "clients", "reader", "workers", "streams")


class Modules(SphinxDirective):
    """`.. modules::` lists the package's modules with the first sentence of each."""

    def run(self) -> list[nodes.Node]:
        text = ".. list-table::\n   :widths: 30 70\n\n" + "".join(self._rows())
        return self.parse_text_to_nodes(text)

    def _rows(self) -> Iterator[str]:
        package = ROOT / flask_redis_events.__name__
        for wing in WINGS:
            for path in sorted((package / wing).glob("*.py")):
                if path.name != "__init__.py" or wing:
                    name = path.relative_to(package).as_posix().removesuffix("__init__.py")
                    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
                    yield f"   * - `{name}`\n     - {docstring.partition(chr(10))[0]}\n"


def setup(app: Sphinx) -> None:
    app.add_directive("modules", Modules)
