"""README.md is the first screen, also on a package index, where its files are not beside it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from flask_redis_events.testing import read_events
from tests.support.processes import ROOT

README = (ROOT / "README.md").read_text("utf-8")
PAGES = [*ROOT.glob("docs/**/*.rst"), *ROOT.glob("examples/**/README.md"), ROOT / "README.md"]


def test_no_link_needs_the_repository():
    """Links and pictures are complete addresses, and never paths."""
    targets = re.findall(r"\]\(([^)]*)\)", README)

    assert [target for target in targets if not target.startswith("https://")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_can_be_pasted(page: Path):
    """No command stands behind a prompt, which a shell would take for a command."""
    assert re.findall(r"(?m)^ *\$ .*$", page.read_text("utf-8")) == []


def test_every_file_that_is_named_exists():
    """README names files in place of linking to them."""
    named = re.findall(r"`((?:docs|examples|\.ci)/[^`]*)`", README)

    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_application_needs_no_redis(tmp_path: Path):
    """README's application runs as it stands there: an order that is posted reaches the page."""
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "app.py").write_text(block)
    names = runpy.run_path(str(tmp_path / "app.py"), run_name="app")
    client = names["app"].test_client()
    (path,) = re.findall(r'EventSource\("([^"]*)"\)', client.get("/").text)
    stream = client.get(path, buffered=False)
    client.post("/orders", json={"item": "book"})
    received = read_events(stream, 1)
    names["events"].hub.close()

    assert [event.data for event in received] == ['{"item":"book"}']
