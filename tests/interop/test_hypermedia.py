"""Pages of htmx, Turbo and Datastar, with the attributes and values that this package makes."""

from __future__ import annotations

import io
import itertools
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from flask_redis_events import Emitter, datastar, htmx, turbo
from tests.e2e.conftest import App, starting
from tests.support.browsers import Browse
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(180)

#: A package of Python that has Datastar 1 in it, because npm has only versions before.
WITH_DATASTAR = "starhtml==0.7.0"

Send = Callable[[Emitter, str], object]


def _html(emitter: Emitter, card: str) -> object:
    return emitter.emit_html("cards", card)


#: The page, and how a card is emitted for it.
LIBRARIES: list[Any] = [
    pytest.param("htmx-2", _html, id="htmx 2"),
    pytest.param("htmx-4", _html, id="htmx 4"),
    pytest.param(
        "htmx-4",
        lambda emitter, card: emitter.emit("cards", htmx.partial("#cards", card, swap="beforeend")),
        id="htmx 4, partials",
    ),
    pytest.param(
        "turbo",
        lambda emitter, card: emitter.emit("cards", turbo.append("cards", card)),
        id="Turbo",
    ),
    pytest.param(
        "datastar",
        lambda emitter, card: emitter.emit(
            "cards", datastar.patch_elements(card, selector="#cards", mode="append")
        ),
        id="Datastar",
    ),
]
#: All pages, each once.
PAGES = [kind for kind in LIBRARIES if kind.id != "htmx 4, partials"]


@pytest.fixture(scope="session")
def static(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the libraries."""
    wheels = tmp_path_factory.mktemp("wheels")
    # The package wants a newer Python than it takes to read a file of it.
    options = ["--no-deps", "--only-binary=:all:", "--python-version=3.13", "--dest", str(wheels)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options, WITH_DATASTAR]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = wheels.glob("*.whl")
    with zipfile.ZipFile(io.BytesIO(wheel.read_bytes())) as archive:
        text = archive.read("starhtml/static/js/datastar-core.js")
    (modules / "static" / "datastar.js").write_bytes(text)
    return modules / "static"


@pytest.fixture
def app(
    own_redis_server: RedisServer, static: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[App]:
    monkeypatch.setenv("TEST_STATIC", str(static))
    with starting(own_redis_server, "hypermedia:") as start:
        yield start(workers=2, app="tests.support.apps.hypermedia:create_app()")


@pytest.fixture
def emitter(app: App, own_redis_server: RedisServer) -> Iterator[Emitter]:
    emitter = Emitter(own_redis_server.url, prefix=app.prefix)
    yield emitter
    emitter.close()


class Board:
    """The cards, and the pages that show them."""

    def __init__(self, app: App, emitter: Emitter, send: Send) -> None:
        self._app, self._emitter, self._send = app, emitter, send
        self._numbers = itertools.count(1)
        self.pages: list[WebDriver] = []
        self.cards: list[str] = []

    def open(self, page: WebDriver, library: str) -> None:
        page.get(f"{self._app.url}/page/{library}")
        self.pages.append(page)

    def add(self, count: int = 3) -> None:
        """Write cards to the state, and emit each of them, as a commit would."""
        for _ in range(count):
            text = f"card {next(self._numbers)} \u2028 <b>"
            card = f'<li class="card"\n  title="{text[:6]}">{text.replace("<b>", "&lt;b>")}</li>'
            self._emitter.emit("state", card)
            self._send(self._emitter, card)
            self.cards.append(text)

    def is_shown(self) -> bool:
        return all(self.shown(page) == self.cards for page in self.pages)

    def shown(self, page: WebDriver) -> list[str]:
        script = "return [...document.querySelectorAll('#cards > li')].map(li => li.textContent)"
        return list(page.execute_script(script))

    def wait(self) -> None:
        """Wait until each page shows each card once, and in order."""
        wait_until(self.is_shown, 30, lambda: f"{[self.shown(page) for page in self.pages]}")


@pytest.fixture
def board(app: App, emitter: Emitter, send: Send) -> Board:
    board = Board(app, emitter, send)
    board.add()
    return board


@pytest.mark.parametrize("library, send", LIBRARIES)
def test_fragments_appear_in_every_page(
    own_redis_server: RedisServer,
    app: App,
    emitter: Emitter,
    browse: Browse,
    board: Board,
    library: str,
):
    """Fragments emitted by another process appear once and in order, through kills and reloads.

    At a `reset` the pages load their state, and at `end` they ask for the stream once at most.
    """
    for _ in range(2):
        board.open(browse(), library)
    board.add()
    board.wait()
    assert_a_form_is_not_the_stream(board)

    for pid in app.server.worker_pids():
        app.server.kill_worker(pid, signal.SIGKILL)
    board.add()
    board.wait()
    app.server.reload()
    board.add()
    board.wait()

    numbers = [_number(page) for page in board.pages]
    own_redis_server.restart()  # which has kept nothing
    board.cards.clear()
    wait_until_all(board, _number, numbers)
    board.add()
    board.wait()

    requests = len(_lines(app)) + len(board.pages)
    emitter.emit("cards", False)
    wait_until(lambda: app.subscribers("cards") == 0, 20)
    over = time.monotonic()
    wait_until(lambda: time.monotonic() > over + 4)
    further = _lines(app)[requests:]

    assert len(further) <= len(board.pages)
    assert all('" 204 ' in line for line in further)
    assert board.is_shown()


def assert_a_form_is_not_the_stream(board: Board) -> None:
    """The `reset` of a form bubbles to the element that is connected, and is not the stream's."""
    numbers = [_number(page) for page in board.pages]
    for page in board.pages:
        page.execute_script("document.querySelector('#form').click()")
    board.add()
    board.wait()
    assert [_number(page) for page in board.pages] == numbers


@pytest.mark.parametrize("library, send", PAGES)
def test_a_page_loads_what_it_shows(emitter: Emitter, browse: Browse, board: Board, library: str):
    """A page misses and repeats no card while it loads; `touch` lets it load what it shows.

    With Turbo that is the page, and with the others an element.
    """
    page = browse()
    board.open(page, library)
    for _ in range(3):
        page.execute_script("location.reload()")
        for _ in range(30):
            board.add(1)
            time.sleep(0.01)
        board.wait()

    what = _number if library == "turbo" else _touched
    for _ in range(2):
        shown = what(page)
        emitter.touch("cards")
        wait_until_all(board, what, [shown])
    board.add()
    board.wait()


def wait_until_all(board: Board, what: Callable[[WebDriver], int], before: list[int]) -> None:
    """Wait until each page shows something newer than before."""

    def are_newer() -> bool:
        return all(what(page) > old for page, old in zip(board.pages, before, strict=True))

    wait_until(are_newer, 30)


def _lines(app: App) -> list[str]:
    return [line for line in app.server.access_log.splitlines() if '"GET /stream' in line]


def _number(page: WebDriver) -> int:
    """Return the number of the rendering that a page shows."""
    return int(page.execute_script("return document.body.dataset.number"))


def _touched(page: WebDriver) -> int:
    """Return the number of the rendering of the element, 0 before the first."""
    return int(page.execute_script("return document.querySelector('#shown')?.textContent || 0"))
