"""Accounts: who gets in, who does not, and what ends at the end."""

from __future__ import annotations

import threading

import pytest
from flask import Flask
from sqlalchemy import select

from examples.accounts import User, db
from examples.accounts.storage import create_tables
from tests.support.processes import free_port

from .conftest import HTML, JSON, MakeApp, user
from .staging import PASSWORD

NAMES = ("notifications", "chat")


@pytest.fixture(params=NAMES)
def app(request: pytest.FixtureRequest, make_app: MakeApp) -> Flask:
    return make_app(request.param)


def test_a_page_asks_to_sign_in_and_comes_back(app: Flask):
    """A page leads to the form, and the form back to the page; a script gets 401."""
    user(app, "ada")
    client = app.test_client()
    page = "/rooms/kitchen" if "chat" in app.import_name else "/"
    asked = client.get(page, headers=HTML)

    form = {"name": " Ada ", "password": PASSWORD}
    entered = client.post(asked.location, data=form, headers=HTML)

    assert (asked.status_code, entered.status_code) == (302, 302)
    assert entered.location == page
    assert client.get(page, headers=HTML).status_code == 200
    assert app.test_client().get(page, headers=JSON).status_code == 401


def test_a_form_of_somebody_who_is_signed_out_leads_to_the_start(app: Flask):
    """After signing in the form is not sent again, and no page is asked for that there is not."""
    asked = app.test_client().post("/sign-out", headers=HTML)

    assert (asked.status_code, asked.location) == (302, "/sign-in")


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "/a\r\nb: c"],
)
def test_the_form_leads_to_no_other_site(app: Flask, target: str):
    """`next` is a path of the application, or is not followed."""
    user(app, "ada")

    form = {"name": "ada", "password": PASSWORD}
    entered = app.test_client().post("/sign-in", query_string={"next": target}, data=form)

    assert entered.location == "/"


@pytest.mark.parametrize(
    "path, name, password, status",
    [
        ("/sign-in", "ada", "wrong horse", 401),
        ("/sign-in", "nobody", PASSWORD, 401),
        ("/sign-up", "ADA", PASSWORD, 409),
        ("/sign-up", "a", PASSWORD, 400),
        ("/sign-up", "<b>bob</b>", PASSWORD, 400),
        ("/sign-up", "bob", "short", 400),
    ],
)
def test_refusals_say_why(app: Flask, path: str, name: str, password: str, status: int):
    """The form comes again with the name, the reason, and no session."""
    user(app, "ada")
    client = app.test_client()

    answer = client.post(path, data={"name": name, "password": password}, headers=HTML)

    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert password not in answer.text
    assert client.get("/", headers=HTML, follow_redirects=True).request.path == "/sign-in"


def test_passwords_are_hashed(app: Flask):
    """The database does not know any password."""
    user(app, "ada")

    with app.app_context():
        [found] = db.session.scalars(select(User))

        assert PASSWORD not in found.password_hash
        assert found.password_hash.startswith(("scrypt:", "pbkdf2:"))


def test_signing_out_ends_all_sessions(app: Flask):
    """A second browser of the user, and a copy of the cookie, are signed out, too."""
    first = user(app, "ada")
    second = app.test_client()
    second.post("/sign-in", data={"name": "ada", "password": PASSWORD})
    cookie = first.get_cookie("session")
    assert cookie is not None

    assert first.post("/sign-out").location == "/sign-in"

    first.set_cookie("session", cookie.value)
    for client in (first, second):
        page = client.get("/", headers=HTML, follow_redirects=True)
        assert page.request.path == "/sign-in"


def test_requests_of_other_sites_are_refused(app: Flask):
    """Another site can neither sign somebody in nor act for them."""
    client = user(app, "ada")

    for site in ("cross-site", "same-site"):
        answer = client.post("/sign-out", headers={"Sec-Fetch-Site": site, **JSON})

        assert answer.status_code == 403
        assert answer.json == {"error": "Another site has sent this request."}
    assert client.post("/sign-out", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 302


@pytest.mark.parametrize("name", NAMES)
def test_there_is_no_default_secret(name: str, make_app: MakeApp):
    """Without a key of its own the application does not start, and says how to make one."""
    for key in (None, ""):
        with pytest.raises(RuntimeError, match=r"Set FLASK_SECRET_KEY to the output of python -c"):
            make_app(name, SECRET_KEY=key)


def test_workers_may_start_together(app: Flask):
    """Processes that create the same tables at once do not disturb each other."""
    failures: list[BaseException] = []
    start = threading.Barrier(8)

    def create() -> None:
        start.wait()
        try:
            with app.app_context():
                create_tables()
        except Exception as error:
            failures.append(error)

    with app.app_context():
        db.drop_all()
    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


@pytest.mark.parametrize("name, path", [("notifications", "/"), ("chat", "/rooms/lobby")])
def test_without_redis_the_answer_is_503(
    monkeypatch: pytest.MonkeyPatch, make_app: MakeApp, name: str, path: str
):
    """A page is told in HTML and a script in JSON, and neither learns the address of Redis."""
    monkeypatch.setattr("flask_redis_events.broker.commands.PATIENCE", 0.1)
    port = free_port()
    app = make_app(name, REDIS_EVENTS_URL=f"redis://127.0.0.1:{port}/0")
    client = user(app, "ada")

    page = client.get(path, headers=HTML)
    answer = client.get(path, headers=JSON)

    assert (page.status_code, answer.status_code) == (503, 503)
    assert "Redis is away, try again later." in page.text
    assert answer.json == {"error": "Redis is away, try again later."}
    assert str(port) not in page.text
    # Who wants to sign out is signed out all the same.
    assert client.post("/sign-out", headers=HTML).location == "/sign-in"
