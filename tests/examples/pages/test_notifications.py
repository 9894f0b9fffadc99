"""Notifications in two browsers: what one does appears in the other, whatever happens between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from examples.accounts import User
from examples.notifications import notes
from tests.examples.conftest import MakeApp
from tests.examples.staging import (
    emulate,
    environment,
    errors,
    fill_in,
    overflow,
    sign_up,
    state,
    wait_live,
)
from tests.support.browsers import Browse, texts
from tests.support.processes import ROOT
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

from .conftest import Run

pytestmark = pytest.mark.timeout(180)


def notes_of(page: webdriver.Chrome) -> list[str]:
    """Return the texts of the notes that the page shows, the newest first."""
    return texts(page, "#list p")


def unread(page: webdriver.Chrome) -> tuple[str, int]:
    """Return the badge's text and the number of notes that are shown as unread."""
    [badge] = texts(page, "#unread")
    return badge, len(page.find_elements(By.CSS_SELECTOR, ".note.unread"))


def notify(page: webdriver.Chrome, text: str) -> None:
    """Notify ada with the form."""
    page.find_element(By.NAME, "to").clear()
    page.find_element(By.NAME, "to").send_keys("ada")
    page.find_element(By.NAME, "text").send_keys(text, "\n")
    wait_until(lambda: "Sent to ada." in texts(page, "#sent")[0], 20)


def test_what_one_sends_appears_in_all_tabs_of_the_other(run: Run, browse: Browse):
    """Two tabs show the note; one reads it and the other follows; a reload shows the same."""
    server, ada, bob = run("notifications"), browse(), browse()
    sign_up(ada, server.url, "ada")
    sign_up(bob, server.url, "bob")
    first = ada.current_window_handle
    ada.switch_to.new_window("tab")
    ada.get(server.url)
    tabs = (ada.current_window_handle, first)
    for tab in tabs:
        ada.switch_to.window(tab)
        wait_live(ada)

    notify(bob, "<b>hello</b> & welcome")
    notify(bob, "dinner?")

    for tab in tabs:
        ada.switch_to.window(tab)
        wait_until(lambda: notes_of(ada) == ["dinner?", "<b>hello</b> & welcome"], 20)
        assert unread(ada) == ("2", 2)
        assert ada.title == "(2) Notifications"
    ada.find_element(By.CSS_SELECTOR, ".note button").click()
    for tab in reversed(tabs):
        ada.switch_to.window(tab)
        wait_until(lambda: unread(ada) == ("1", 1), 20)
    ada.refresh()
    assert unread(ada) == ("1", 1)
    ada.find_element(By.ID, "read-all").click()
    for tab in tabs:
        ada.switch_to.window(tab)
        wait_until(lambda: unread(ada) == ("", 0), 20)
    assert errors(ada) == errors(bob) == []


def test_nothing_is_lost_or_repeated_when_workers_are_killed(run: Run, browse: Browse):
    """Each note is there once, although the workers die between them."""
    server, ada, bob = run("notifications"), browse(), browse()
    sign_up(ada, server.url, "ada")
    sign_up(bob, server.url, "bob")
    wait_live(ada)

    for number in range(3):
        for pid in server.worker_pids():
            server.kill_worker(pid)
        wait_until(lambda: len(server.worker_pids()) == 2, 20)
        notify(bob, f"note {number}")

    expected = [f"note {number}" for number in (2, 1, 0)]
    wait_until(lambda: notes_of(ada) == expected, 40, lambda: str(notes_of(ada)))
    wait_live(ada)
    assert unread(ada) == ("3", 3)


def test_the_page_shows_the_database_after_a_loss(
    run: Run, browse: Browse, make_app: MakeApp, own_redis_server: RedisServer
):
    """If Redis has lost its events, the page loads what it shows, and goes on from there."""
    server = run("notifications", FLASK_REDIS_EVENTS_URL=own_redis_server.url)
    ada, bob = browse(), browse()
    sign_up(ada, server.url, "ada")
    sign_up(bob, server.url, "bob")
    notify(bob, "heard")
    wait_until(lambda: notes_of(ada) == ["heard"], 20)
    # Another Redis: of this note no page learns.
    with make_app("notifications").app_context():
        user = User.named("ada")
        assert user is not None
        notes.notify(user, "bob", "missed")

    own_redis_server.client().flushall()
    # The next event tells the worker of the loss.
    notify(bob, "heard again")

    wait_until(lambda: notes_of(ada) == ["heard again", "missed", "heard"], 40)
    assert unread(ada) == ("3", 3)


def test_a_command_reaches_the_page(
    run: Run, browse: Browse, redis_server: RedisServer, prefix: str, tmp_path: Path
):
    """Another process notifies, as the README shows it."""
    server, ada = run("notifications"), browse()
    sign_up(ada, server.url, "ada")
    wait_live(ada)

    env = environment("notifications", redis_server.url, prefix, tmp_path)
    command = [sys.executable, "-m", "flask", "--app", "examples.notifications.app"]
    subprocess.run(
        [*command, "notify", "ada", "from cron"], env={**os.environ, **env}, cwd=ROOT, check=True
    )

    wait_until(lambda: notes_of(ada) == ["from cron"], 20)


def test_signing_out_empties_all_tabs(run: Run, browse: Browse):
    """A tab shows the form at once when another one signs out, and Back does not bring notes."""
    server, ada, bob = run("notifications"), browse(), browse()
    sign_up(ada, server.url, "ada")
    sign_up(bob, server.url, "bob")
    notify(bob, "secret")
    wait_until(lambda: notes_of(ada) == ["secret"], 20)
    first = ada.current_window_handle
    ada.switch_to.new_window("tab")
    ada.get(server.url)
    wait_live(ada)

    ada.find_element(By.CSS_SELECTOR, ".user button").click()
    notify(bob, "more secrets")

    assert "/sign-in" in ada.current_url
    ada.back()
    assert "secret" not in ada.page_source
    ada.switch_to.window(first)
    wait_until(lambda: "/sign-in" in ada.current_url, 20)
    assert "secret" not in ada.page_source
    fill_in(ada, "ada")
    wait_until(lambda: notes_of(ada) == ["more secrets", "secret"], 20)


def test_a_failure_is_shown(run: Run, browse: Browse):
    """The page says why nothing was sent, and keeps the text."""
    server, ada = run("notifications"), browse()
    sign_up(ada, server.url, "ada")
    problem = ada.find_element(By.ID, "problem")
    ada.find_element(By.NAME, "to").send_keys("nobody")
    text = ada.find_element(By.NAME, "text")

    text.send_keys("hello\n")
    wait_until(lambda: problem.text == "There is no user nobody.", 20)
    server.close()
    text.send_keys("\n")
    wait_until(lambda: "cannot be reached" in problem.text, 20)

    assert text.get_attribute("value") == "hello"
    wait_until(lambda: state(ada) == "away", 20)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_shows_everything(run: Run, browse: Browse, dark: bool):
    """Neither a long word nor a long name makes the page wider than 390 pixels."""
    server, ada = run("notifications"), browse()
    emulate(ada, phone=True, dark=dark)
    sign_up(ada, server.url, "a" * 24)
    wait_live(ada)
    assert overflow(ada) == 0
    ada.find_element(By.NAME, "to").send_keys("a" * 24)
    ada.find_element(By.NAME, "text").send_keys("w" * 200, "\n")
    wait_until(lambda: len(notes_of(ada)) == 1, 40)

    assert overflow(ada) == 0
    background = "return getComputedStyle(document.documentElement).backgroundColor"
    assert (ada.execute_script(background) == "rgb(255, 255, 255)") is not dark
    assert errors(ada) == []


def test_the_keyboard_is_enough(run: Run, browse: Browse):
    """The first stop is the link to the content; every stop has a name and a visible focus."""
    server, ada = run("notifications"), browse()
    sign_up(ada, server.url, "ada")
    wait_live(ada)
    stops = []
    for _ in range(12):
        ada.switch_to.active_element.send_keys("\ue004")  # Tab
        stop = ada.switch_to.active_element
        if stop.tag_name == "body":
            break
        outline = stop.value_of_css_property("outline-style")
        shadow = stop.value_of_css_property("box-shadow")
        stops.append(stop.accessible_name)
        assert stop.accessible_name
        assert (outline, shadow) != ("none", "none"), stop.accessible_name

    assert stops == ["Skip to the content", "Notifications", "Sign out", "To", "Text", "Send"]
