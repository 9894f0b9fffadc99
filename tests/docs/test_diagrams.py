"""The pictures of the pages are drawn by a script, and shown together with their text."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from tests.docs.blocks import DOCS

PICTURES = sorted((DOCS / "diagrams").glob("*.svg"))
TEXTS = [path.read_text("utf-8") for path in DOCS.rglob("*.rst")]


def test_every_picture_is_shown():
    """A page shows each picture, with a text that says the same."""
    shown = [name for text in TEXTS for name in re.findall(r":: diagrams/(\S+)\n   :alt: ", text)]

    assert sorted(shown) == [path.name for path in PICTURES]


def test_the_pictures_are_those_of_the_script(tmp_path: Path):
    """The committed files are what the script draws."""
    script = Path(shutil.copy(DOCS / "diagrams" / "draw.py", tmp_path))
    subprocess.run([sys.executable, str(script)], check=True)

    for path in PICTURES:
        assert (tmp_path / path.name).read_text("utf-8") == path.read_text("utf-8")
        ElementTree.parse(path)


def test_no_picture_is_made_of_letters():
    """No page has box-drawing characters."""
    assert [text[:40] for text in TEXTS if re.search("[\u2500-\u257f]", text)] == []
