"""The chat in two browsers: what one says appears for the other, whatever happens between."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from examples.accounts import User
from examples.chat import messages
from tests.examples.conftest import MakeApp
from tests.examples.staging import emulate, errors, overflow, sign_up, state, wait_live
from tests.support.browsers import Browse, texts
from tests.support.servers import Gunicorn, RedisServer
from tests.support.waiting import wait_until

from .conftest import Run

pytestmark = pytest.mark.timeout(180)
LOBBY = "/rooms/lobby"


class Room(NamedTuple):
    """Ada and Bob in the lobby."""

    server: Gunicorn
    ada: webdriver.Chrome
    bob: webdriver.Chrome


@pytest.fixture
def room(run: Run, browse: Browse) -> Room:
    server, ada, bob = run("chat"), browse(), browse()
    for page, name in ((ada, "ada"), (bob, "bob")):
        sign_up(page, server.url + LOBBY, name)
        wait_live(page)
    return Room(server, ada, bob)


def messages_of(page: webdriver.Chrome) -> list[str]:
    return texts(page, "#messages p")


def wait_messages(page: webdriver.Chrome, expected: list[str]) -> None:
    wait_until(lambda: messages_of(page) == expected, 40, lambda: str(messages_of(page)))


def members(page: webdriver.Chrome) -> list[str]:
    script = "return [...document.querySelectorAll('#members li')].map((one) => one.textContent)"
    found: list[str] = page.execute_script(script)
    return found


def status(page: webdriver.Chrome) -> str:
    [text] = texts(page, "#status")
    return text


def type_one(field: WebElement) -> bool:
    field.send_keys("x")
    return True


def say(page: webdriver.Chrome, text: str) -> None:
    """Say something with the form, and wait until it has left."""
    field = page.find_element(By.NAME, "text")
    field.send_keys(text, "\n")
    wait_until(lambda: not field.get_attribute("value"), 20)


def test_what_one_says_appears_for_the_other(room: Room):
    """Both pages show the same in the same order, as text; a reload shows it again."""
    say(room.ada, "<b>hello</b> & welcome")
    say(room.bob, "hi")
    say(room.ada, "how are you?")

    expected = ["<b>hello</b> & welcome", "hi", "how are you?"]
    for page in (room.ada, room.bob):
        wait_messages(page, expected)
        page.refresh()
        assert messages_of(page) == expected
        wait_live(page)
    own = room.ada.find_elements(By.CSS_SELECTOR, ".own p")
    assert [message.text for message in own] == [expected[0], expected[2]]
    assert errors(room.ada) == errors(room.bob) == []


def test_typing_appears_and_goes(room: Room):
    """It goes with the message, and by itself if nothing follows."""
    field = room.ada.find_element(By.NAME, "text")

    field.send_keys("hel")
    wait_until(lambda: status(room.bob) == "ada is typing …", 20)
    say(room.ada, "lo")
    wait_until(lambda: messages_of(room.bob) == ["hello"], 20)
    assert "typing" not in status(room.bob)
    # Another worker may think that it has just told of her typing, so she goes on.
    wait_until(lambda: type_one(field) and "typing" in status(room.bob), 20)
    wait_until(lambda: "typing" not in status(room.bob), 20)
    assert "typing" not in status(room.ada)


def test_members_come_and_go(room: Room):
    """A reload is neither; a page that is closed is gone after the time of grace."""
    wait_until(lambda: members(room.ada) == members(room.bob) == ["ada", "bob"], 20)
    news = "window.news = new Set(); new MutationObserver(() => news.add(document"
    news += ".getElementById('status').textContent)).observe(document.getElementById('status'), "
    room.ada.execute_script(news + "{ childList: true })")

    room.bob.refresh()
    wait_live(room.bob)
    room.bob.get(room.server.url + "/rooms/kitchen")
    wait_until(lambda: members(room.ada) == ["ada"], 30)
    room.bob.get(room.server.url + LOBBY)
    wait_until(lambda: members(room.ada) == ["ada", "bob"], 20)

    wait_until(lambda: "bob has joined." in room.ada.execute_script("return [...news]"))
    told = [one for one in room.ada.execute_script("return [...news]") if one]
    assert told == ["bob has left.", "bob has joined."]


def test_nothing_is_lost_or_repeated_when_workers_are_killed(room: Room):
    """Each message is there once and in order, although the workers die between them."""
    for number in range(3):
        for pid in room.server.worker_pids():
            room.server.kill_worker(pid)
        wait_until(lambda: len(room.server.worker_pids()) == 2, 20)
        say(room.ada, f"message {number}")

    for page in (room.ada, room.bob):
        wait_messages(page, ["message 0", "message 1", "message 2"])
        wait_live(page)
    # On a slow machine, the one may have been away for long enough to have left.
    both = ["ada", "bob"]
    wait_until(lambda: members(room.ada) == members(room.bob) == both, 20)


def test_the_page_shows_the_database_after_a_loss(
    run: Run, browse: Browse, make_app: MakeApp, own_redis_server: RedisServer
):
    """If Redis has lost its events, the page loads what it shows, and goes on from there."""
    server = run("chat", FLASK_REDIS_EVENTS_URL=own_redis_server.url)
    ada = browse()
    sign_up(ada, server.url + LOBBY, "ada")
    wait_live(ada)
    say(ada, "heard")
    # Another Redis: of this message no page learns.
    with make_app("chat").app_context():
        user = User.named("ada")
        assert user is not None
        messages.say("lobby", user, "missed")

    own_redis_server.client().flushall()
    wait_messages(ada, ["heard", "missed"])
    say(ada, "heard again")

    wait_messages(ada, ["heard", "missed", "heard again"])
    wait_until(lambda: members(ada) == ["ada"], 40)


def test_older_messages_come_on_scrolling(room: Room):
    """The page begins at the newest message, and has all of them after scrolling up."""
    for number in range(70):
        script = "fetch(arguments[0], {method: 'POST', body: JSON.stringify({text: arguments[1]}),"
        script += "headers: {'Content-Type': 'application/json'}}).then(arguments[2])"
        path = f"{LOBBY}/messages"
        room.ada.execute_async_script(script, path, f"message {number}")
    expected = [f"message {number}" for number in range(70)]
    room.bob.refresh()
    assert messages_of(room.bob) == expected[40:]
    newest = room.bob.find_elements(By.CSS_SELECTOR, "#messages li")[-1]
    in_view = "const { top } = arguments[0].getBoundingClientRect(); return top < innerHeight"
    assert room.bob.execute_script(in_view, newest)

    for first in (10, 0):
        room.bob.execute_script("document.getElementById('log').scrollTop = 0")
        wait_messages(room.bob, expected[first:])
        # The message that was at the top is still in view, and not pushed out of it.
        assert room.bob.execute_script("return document.getElementById('log').scrollTop") > 0

    assert not room.bob.find_element(By.ID, "older").is_displayed()
    say(room.ada, "one more")
    wait_until(lambda: messages_of(room.bob)[-1] == "one more", 20)


def test_signing_out_ends_all_tabs(room: Room):
    """The other tab shows the form at once, and the user leaves the room."""
    first = room.ada.current_window_handle
    room.ada.switch_to.new_window("tab")
    room.ada.get(room.server.url + "/rooms/kitchen")
    wait_live(room.ada)

    room.ada.find_element(By.CSS_SELECTOR, ".user button").click()

    room.ada.switch_to.window(first)
    wait_until(lambda: "/sign-in?next=/rooms/lobby" in room.ada.current_url, 20)
    wait_until(lambda: members(room.bob) == ["bob"], 30)


def test_a_page_without_a_stream_says_so(run: Run, browse: Browse):
    """A server that has no room for another stream answers the page, and takes what it sends."""
    server, ada = run("chat", FLASK_REDIS_EVENTS_MAX_STREAMS="1"), browse()
    sign_up(ada, server.url + LOBBY, "ada")
    # Two workers have room for two streams.
    for room in ("kitchen", "garden"):
        ada.switch_to.new_window("tab")
        ada.get(f"{server.url}/rooms/{room}")

    def streams() -> dict[str, str]:
        states = {}
        for tab in ada.window_handles:
            ada.switch_to.window(tab)
            states[tab] = str(state(ada))
        return states

    # While a worker has room, a page that was refused may still find it.
    wait_until(lambda: sorted(streams().values()) == ["away", "live", "live"], 30)
    ada.switch_to.window(next(tab for tab, shown in streams().items() if shown == "away"))

    say(ada, "hello")

    assert messages_of(ada) == ["hello"]
    assert ada.find_element(By.ID, "connection").text == "Reconnecting"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_shows_everything(run: Run, browse: Browse, dark: bool):
    """Neither a long word nor many rooms make the page wider than 390 pixels."""
    server, ada = run("chat"), browse()
    emulate(ada, phone=True, dark=dark)
    sign_up(ada, f"{server.url}/rooms/{'r' * 24}", "a" * 24)
    for room in ("kitchen", "garden", "a-room-with-a-name", "x" * 24):
        ada.get(f"{server.url}/rooms/{room}")
        say(ada, "w" * 200)

    wait_until(lambda: len(messages_of(ada)) == 1, 20)
    wait_live(ada)
    assert state(ada) == "live"
    assert overflow(ada) == 0
    # The form is in view, because only the messages scroll.
    bottom = "return document.getElementById('say').getBoundingClientRect().bottom <= innerHeight"
    assert ada.execute_script(bottom)
    assert errors(ada) == []
