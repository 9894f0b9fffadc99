"""Every block of the pages is run, by tests here or elsewhere, or there is a reason not to."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import Block, blocks, pages
from tests.support.processes import ROOT

#: The languages that tests in this directory run, whatever the page.
RUN = {
    "python": "test_python.py",
    "html+jinja": "test_python.py",
    "bash": "test_console.py",
    "javascript": "test_javascript.py",
}
#: Files that pages include, and what runs them.
INCLUDED = {
    "clients": "tests/interop",
    "coming-from/proto": "tests/docs/test_proto.py",
    "proxies": "tests/e2e/test_proxies.py",
    "howto/docker": "tests/docs/test_deployments.py",
    "howto/systemd": "tests/docs/test_deployments.py",
}
#: Other blocks, by their page and a text of them, and what runs them.
ELSEWHERE = {
    ("README.md", "flask_redis_events demo"): "tests/browser/test_demo.py",
    ("README.md", "flask_redis_events examples"): "tests/e2e/test_launcher.py",
    ("README.md", "python -m tox"): ".ci/run",
    ("browser.rst", "script-src 'nonce-"): "tests/browser/test_module.py",
    ("browser.rst", "interface Events"): "tests/module/types.ts",
    ("clients.rst", "data-init="): "tests/interop/test_hypermedia.py",
    ("contributing.rst", "python -m tox"): ".ci/run",
    ("deploying.rst", "ACL SETUSER"): "tests/broker/test_rights.py",
    ("examples.rst", "flask_redis_events examples"): "tests/e2e/test_launcher.py",
    ("deploying.rst", "maxmemory 1gb"): "tests/docs/test_console.py",
    ("performance.rst", "-m tests.benchmarks"): "tests/benchmarks",
    ("quickstart.rst", "pip install ."): "tests/docs/test_tutorial.py",
}
#: Blocks that nothing runs, and why.
REASONS = {
    ("howto/kubernetes.rst", "kind: Deployment"): "no cluster among what the tests need",
    ("clients.rst", "EventSource.Builder"): "no Java among what the tests need",
    ("contributing.rst", "pytest tests/wire"): "it would run the tests in a test",
    ("deploying.rst", "LimitNOFILE"): "a line of a unit, for systemd",
    ("design.rst", "the envelope"): "a format, in words",
}


def is_one_of(block: Block, given: dict[tuple[str, str], str]) -> bool:
    return any(block.page == page and text in block.text for page, text in given)


#: The blocks that the tests of their language leave out.
NOT_RUN = [block for block in blocks() if is_one_of(block, {**ELSEWHERE, **REASONS})]


def is_run(block: Block) -> bool:
    if block.file:
        return block.file.rpartition("/")[0] in INCLUDED or block in NOT_RUN
    return block.language in RUN or block.is_shown or block in NOT_RUN


def test_every_block_is_run_or_has_a_reason():
    """A new block is run, or stands in one of the lists above."""
    assert [block.place for block in blocks() if not is_run(block)] == []


@pytest.mark.parametrize("key", [*ELSEWHERE, *REASONS], ids="-".join)
def test_the_lists_have_no_block_that_is_gone(key: tuple[str, str]):
    """Each entry of the lists stands for a block."""
    page, text = key

    assert any(text in block.text for block in blocks(page))


def test_what_runs_them_is_there():
    """The tests that the lists name exist."""
    for path in [
        *INCLUDED.values(),
        *ELSEWHERE.values(),
        *(f"tests/docs/{n}" for n in RUN.values()),
    ]:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", pages())
def test_pages_name_what_there_is(page: str):
    """The tests' files, and the tests, that a page names are there."""
    path = ROOT / ("." if page == "README.md" else "docs") / page
    for name in re.findall(r"tests/[\w/]+\.(?:py|ts)", path.read_text("utf-8")):
        assert (ROOT / name).exists(), name
