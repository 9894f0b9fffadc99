"""What templates write, and the values that libraries of the page read."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser

import pytest
from flask import Blueprint, Flask, render_template_string
from markupsafe import Markup

from flask_redis_events import (
    FieldError,
    Position,
    RedisEvents,
    ServerSentEvent,
    datastar,
    htmx,
    turbo,
)
from flask_redis_events.testing import read_events
from flask_redis_events.wire.sse import decode


class Elements(HTMLParser):
    """The attributes of all elements, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(dict(attrs))


def attributes_of(text: str) -> dict[str, str | None]:
    return Elements(f"<div {text}>").found[0]


# --- values for emit --------------------------------------------------------------------------


def test_a_partial_names_its_target():
    """htmx swaps a partial into its target, and not into the element that is connected."""
    assert htmx.partial("#cards", "<li>", swap="beforeend") == Markup(
        '<hx-partial hx-target="#cards" hx-swap="beforeend"><li></hx-partial>'
    )
    assert htmx.partial("#cards", Markup("<li>")) == Markup(
        '<hx-partial hx-target="#cards"><li></hx-partial>'
    )


@pytest.mark.parametrize(
    "made, text",
    [
        (turbo.append("c", "<li>"), 'action="append" target="c"'),
        (turbo.prepend("c", "<li>"), 'action="prepend" target="c"'),
        (turbo.replace("c", "<li>"), 'action="replace" target="c"'),
        (turbo.morph("c", "<li>"), 'action="replace" target="c" method="morph"'),
        (turbo.update("c", "<li>"), 'action="update" target="c"'),
        (turbo.before("c", "<li>"), 'action="before" target="c"'),
        (turbo.after("c", "<li>"), 'action="after" target="c"'),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_stream_element_has_its_action(made, text):
    """Each action of Turbo has a function."""
    assert made == Markup(f"<turbo-stream {text}><template><li></template></turbo-stream>")


def test_a_stream_element_without_content():
    """Removing and refreshing need none."""
    assert turbo.remove("c") == '<turbo-stream action="remove" target="c"></turbo-stream>'
    assert turbo.refresh() == '<turbo-stream action="refresh"></turbo-stream>'
    assert turbo.refresh("7") == ('<turbo-stream action="refresh" request-id="7"></turbo-stream>')


def test_stream_elements_are_joined():
    """Several elements are one event, and raw."""
    event = ServerSentEvent(turbo.remove("a") + turbo.remove("b"))

    assert event.is_raw
    assert decode(event.encode())[0].data.count("<turbo-stream ") == 2


@pytest.mark.parametrize(
    "event, lines",
    [
        pytest.param(datastar.patch_elements("<p>"), ["elements <p>"], id="by its id"),
        pytest.param(
            datastar.patch_elements(
                Markup("<p>\r\n a\u2028b\r</p>"),
                selector='[title="a"]',
                mode="append",
                use_view_transition=True,
            ),
            [
                'selector [title="a"]',
                "mode append",
                "useViewTransition true",
                "elements <p>",
                "elements  a\u2028b",
                "elements </p>",
            ],
            id="all",
        ),
        pytest.param(
            datastar.patch_elements(selector="#a", mode="remove"),
            ["selector #a", "mode remove"],
            id="remove",
        ),
        pytest.param(
            datastar.patch_signals({"a": {"b": "x\n\u2028"}, "c": None}),
            ['signals {"a":{"b":"x\\n\u2028"},"c":null}'],
            id="signals",
        ),
        pytest.param(
            datastar.patch_signals({}, only_if_missing=True),
            ["onlyIfMissing true", "signals {}"],
            id="only if missing",
        ),
    ],
)
def test_an_event_of_datastar(event, lines):
    """Datastar reads arguments line by line, each HTML line with its own `elements`."""
    (decoded,) = decode(event.encode())

    assert decoded.event.startswith("datastar-patch-")
    assert decoded.data.split("\n") == lines
    assert event.is_raw


@pytest.mark.parametrize(
    "make, fix",
    [
        (lambda: htmx.partial("#a\n", ""), "target must be a str of one line"),
        (lambda: htmx.partial("#a", "", swap="a\rb"), "swap must be a str of one line"),
        (lambda: htmx.partial("", ""), "target must be a str of one line"),
        (lambda: htmx.partial("#a", b""), "not bytes"),
        (lambda: turbo.append("a\n", ""), "target must be a str of one line"),
        (lambda: turbo.append("a", None), "must be a str, not None"),
        (lambda: turbo.refresh("a\n"), "request-id must be a str of one line"),
        (lambda: datastar.patch_elements("<p>", selector="#a\nmode remove"), "selector must be"),
        (lambda: datastar.patch_elements("<p>", mode="swap"), "mode must be one of outer, inner"),
        (lambda: datastar.patch_elements(), "needs HTML, or a selector and mode='remove'"),
        (lambda: datastar.patch_elements(mode="remove"), "needs HTML, or a selector"),
        (lambda: datastar.patch_signals([1]), "takes a dict of signals"),  # type: ignore[arg-type]
        (lambda: datastar.patch_signals({"a": b""}), "cannot be written as JSON"),
    ],
)
def test_what_would_break_out_is_refused(make, fix):
    """A line end in an argument is refused, because the library would read another one after it."""
    with pytest.raises(FieldError, match=fix):
        make()


@pytest.mark.parametrize(
    "make",
    [lambda text: htmx.partial(text, ""), lambda text: turbo.append(text, "")],
)
def test_quotes_are_escaped(make):
    """A selector with quotes or angle brackets stays one attribute."""
    text = """[title="a'b"] > li<"""
    (first, *_) = Elements(make(text)).found

    assert text in first.values()
    assert set(first) <= {"hx-target", "action", "target"}


# --- what templates write ---------------------------------------------------------------------


@pytest.fixture
def app(prefix) -> Flask:
    app = Flask(__name__)
    app.config["REDIS_EVENTS_URL"] = f"memory://{prefix}"
    return app


@pytest.fixture
def events(app) -> Iterator[RedisEvents]:
    events = RedisEvents(app)

    @app.get("/boards/<name>/stream")
    @events.stream("board:{name}", backlog=1)
    def stream(name):
        pass

    yield events
    events.hub.close()


def render(app: Flask, template: str, **values: object) -> str:
    with app.test_request_context("/"):
        return render_template_string(template, **values)


@pytest.mark.parametrize("since", ["7-0", Position(7)], ids=["id", "position"])
def test_a_source_has_the_position(app, events, since):
    """The URL has the endpoint's values, and the position behind which the stream begins."""
    template = "{{ events.source('stream', name='a b', since=since, n=1) }}"

    assert unescape(render(app, template, since=since)) == (
        "/boards/a%20b/stream?n=1&last_event_id=7-0"
    )


def test_a_source_without_a_position(app, events):
    """None is a page that has no state to follow, or a history that is empty."""
    template = "{{ events.source('stream', name='a', since=None) }}"

    assert render(app, template) == "/boards/a/stream"


def test_a_wrong_position_is_refused(app, events):
    """The error shows what a position looks like, before a browser gets a `reset` for it."""
    with app.test_request_context("/"), pytest.raises(FieldError, match="takes an id like"):
        events.source("stream", name="a", since="yesterday")


def test_a_source_of_a_blueprint(app, events):
    """The endpoint may be relative, as in `url_for`."""
    blueprint = Blueprint("board", __name__, url_prefix="/b")
    blueprint.add_url_rule("/s", "stream", events.stream("a")(lambda: None))
    blueprint.add_url_rule(
        "/", "page", lambda: render_template_string("{{ events.source('.stream') }}")
    )
    app.register_blueprint(blueprint)

    assert app.test_client().get("/b/").text == "/b/s"


def test_the_attributes_for_htmx(app, events):
    """Both versions close at `end`, load the page again at `reset`, and begin at the position."""
    url = "/boards/a/stream?n=1&last_event_id=7-0"
    text = render(app, "{{ events.htmx('stream', name='a', n=1, since='7-0') }}")
    found = attributes_of(text)

    assert found["sse-connect"] == found["hx-sse:connect"] == url
    assert found["sse-close"] == found["hx-sse:close"] == "end"
    assert found["hx-ext"] == "sse"
    assert "reload" in str(found["hx-on:reset"])
    assert "reload" in str(found["hx-on:sse:reset"])


def test_the_attributes_for_turbo(app, events):
    """The URL asks for `reset` and `refresh` in Turbo's words."""
    text = render(app, "{{ events.turbo('stream', name='a', since='7-0') }}")

    assert attributes_of(text) == {"src": "/boards/a/stream?dialect=turbo&last_event_id=7-0"}


def test_the_attributes_for_datastar(app, events):
    """Datastar comes back whenever a stream ends, until it is answered with 204."""
    text = render(app, """{{ events.datastar('stream', name="it's$5@home", since='7-0') }}""")
    found = attributes_of(text)

    assert found["data-init"] == (
        "@get('/boards/it%27s%245%40home/stream?dialect=datastar&last_event_id=7-0',"
        " {retry: 'always', retryMaxCount: Infinity})"
    )
    assert "reload" in str(found["data-effect"])


def test_a_view_may_have_other_events(app, events):
    """A variable that the view passes comes before the extension."""
    assert render(app, "{{ events }}", events="mine") == "mine"


@pytest.mark.parametrize(
    "dialect, told",
    [
        pytest.param("turbo", ["message", "reset"], id="turbo"),
        pytest.param("datastar", ["datastar-patch-signals", "reset"], id="datastar"),
        pytest.param("other", ["reset"], id="unknown"),
        pytest.param("", ["reset"], id="none"),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "callback", "shared", "generator"])
def test_a_stream_speaks_its_dialect(app, events, dialect, told, kind):
    """Every kind of stream tells a page of a `reset` in the words of its library."""

    def generate(messages):
        yield from messages

    code = generate if kind == "generator" else lambda channel, message, event: message
    view = events.stream("a", shared=kind == "shared")(lambda: None if kind == "plain" else code)
    app.add_url_rule("/s", "s", view)
    response = app.test_client().get(
        f"/s?dialect={dialect}", headers={"Last-Event-ID": "no position"}, buffered=False
    )
    got = read_events(response, 1 + len(told), control=True)

    assert sorted(event.event for event in got) == sorted(["ready", *told])
