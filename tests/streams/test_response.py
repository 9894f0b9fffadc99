"""From a request to a response."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_redis_events import RedisEvents
from flask_redis_events.testing import read_events

events = RedisEvents()


@pytest.fixture
def client(prefix: str) -> Iterator[FlaskClient]:
    app = Flask(__name__)
    app.config["REDIS_EVENTS_URL"] = f"memory://{prefix}"
    events.init_app(app)

    @app.get("/stream")
    @events.stream("orders")
    def stream() -> None:
        """Stream the orders."""

    with app.app_context():
        yield app.test_client()
        events.hub.close()


@pytest.mark.parametrize(
    "header, query, begins_after",
    [
        pytest.param(1, {}, 1, id="the header"),
        pytest.param(None, {"last_event_id": 1}, 1, id="the page's parameter"),
        pytest.param(None, {"lastEventId": 1}, 1, id="a library's parameter"),
        pytest.param(2, {"lastEventId": 1, "last_event_id": 0}, 2, id="the header of all three"),
        pytest.param(2, {"last_event_id": 0}, 2, id="the header of two"),
        pytest.param(None, {"last_event_id": 0, "lastEventId": 1}, 1, id="the library's of two"),
        pytest.param(None, {"last_event_id": 1, "lastEventId": None}, 1, id="an empty one is none"),
    ],
)
def test_of_several_ids_the_newest_counts(client, header, query, begins_after):
    """The header wins over `lastEventId`, and `lastEventId` over the page's `last_event_id`."""
    ids = [events.emit("orders", number) for number in range(4)]
    response = client.get(
        "/stream",
        headers={} if header is None else {"Last-Event-ID": ids[header]},
        query_string={name: "" if at is None else ids[at] for name, at in query.items()},
    )

    assert read_events(response, 1)[0].data == str(begins_after + 1)


@pytest.mark.parametrize("name", ["last_event_id", "lastEventId"])
def test_an_end_in_the_query_is_the_end(client, name):
    """A client that was told of the end gets a 204 in whichever way it sends its id."""
    response = client.get("/stream", query_string={name: "5-1.end"})

    assert response.status_code == 204
