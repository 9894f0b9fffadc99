"""The rooms' pages, their streams, and what their forms do."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Flask, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from examples.accounts import LARGEST_ID, User
from examples.layout import posted_text
from flask_redis_events import BrokerError, StreamEvent

from .messages import channel, events, recent, rooms, say, type_in

chat = Blueprint("chat", __name__)

LOBBY = "lobby"


@chat.url_value_preprocessor
def check_room(endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Let no room have the name of a pattern, or one that is hard to tell from another."""
    room = (values or {}).get("room")
    if room is not None and not re.fullmatch(r"[a-z0-9-]{1,24}", room):
        abort(404, "A room's name has small letters, digits and hyphens.")


@chat.get("/")
def index() -> ResponseReturnValue:
    """Go to the room of the form, or to the lobby."""
    name = request.args.get("room", LOBBY).strip().casefold().replace(" ", "-")
    return redirect(url_for("chat.room", room=name))


@chat.get("/rooms/<room>")
@login_required
def room(room: str) -> str:
    return render_template("room.html", room=room, rooms=rooms(LOBBY, room), **_state(room))


@chat.get("/rooms/<room>/state")
@login_required
def state(room: str) -> dict[str, Any]:
    """Return what the page shows, for a page whose stream has lost events."""
    state = _state(room)
    return {**state, "messages": _rendered(state["messages"])}


def _state(room: str) -> dict[str, Any]:
    # The position comes before all that is read, so what happens meanwhile comes by the stream.
    position = events.position()
    return {
        "position": position,
        "messages": recent(room),
        # Who loads the page is there in a moment.
        "members": sorted({*events.present(channel(room)), current_user.name}),
    }


@chat.get(f"/rooms/<room>/messages/<int(max={LARGEST_ID}):before>")
@login_required
def older(room: str, before: int) -> dict[str, Any]:
    return {"messages": _rendered(recent(room, before=before))}


def _rendered(messages: Any) -> list[str]:
    return [render_template("_message.html", message=message) for message in messages]


@chat.get("/rooms/<room>/stream/<name>")
def stream(room: str, name: str) -> ResponseReturnValue:
    """Stream the room to the user for whom the page was made; `join` and `leave` come with it."""
    if not current_user.is_authenticated:
        abort(401)
    # Another user may have signed in, in another tab.
    if current_user.name != name:
        abort(403)
    session = current_user.get_id()

    def still_signed_in(event: StreamEvent) -> bool:
        """Ask the database now and then, in case that Redis was away when the user signed out."""
        return User.of_session(session) is not None

    return events.stream_response(
        channel(room), identity=lambda: name, presence="events", reauthorize=still_signed_in
    )


@chat.post("/rooms/<room>/messages")
@login_required
def post(room: str) -> ResponseReturnValue:
    text = posted_text("text", called="A message", most=500)
    # The author sees the message although their stream may be away.
    return {"html": say(room, current_user._get_current_object(), text)}


@chat.post("/rooms/<room>/typing")
@login_required
def typing(room: str) -> ResponseReturnValue:
    type_in(room, current_user)
    return "", 204


def end_streams(app: Flask, *, user: User, **_: Any) -> None:
    """End the streams of all tabs of the user, whichever worker has them."""
    try:
        events.disconnect(identity=user.name)
    except BrokerError as error:
        # The user is signed out all the same, and `still_signed_in` ends the streams.
        app.logger.error("%s", error)
