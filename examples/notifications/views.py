"""The page, its stream, and what its buttons do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from flask import Blueprint, Flask, abort, render_template
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from examples.accounts import LARGEST_ID, User
from examples.layout import posted_text
from flask_redis_events import BrokerError, StreamEvent

from .notes import events, mark_read, newest, notify, unread

notifications = Blueprint("notifications", __name__, cli_group=None)


@notifications.get("/")
@login_required
def index() -> str:
    return render_template("index.html", **_state())


@notifications.get("/state")
@login_required
def state() -> dict[str, Any]:
    """Return what `index` shows, for a page whose stream has lost events."""
    state = _state()
    html = [render_template("_note.html", note=note) for note in state["notes"]]
    return {**state, "notes": html}


def _state() -> dict[str, Any]:
    # The position comes before the queries, so a note that is made meanwhile comes by the stream.
    position = events.position()
    return {
        "position": position,
        "notes": newest(current_user),
        "unread": unread(current_user.id),
    }


def still_signed_in(event: StreamEvent) -> bool:
    """Ask the database now and then, in case that Redis was away when the user signed out."""
    return User.of_session(event.identity or "") is not None


@notifications.get("/stream/<int:user_id>")
@events.stream(
    "user:{user_id}", identity=lambda: current_user.get_id(), reauthorize=still_signed_in
)
def stream(user_id: int) -> Callable[..., Any]:
    """Refuse everybody else; this runs before the stream sends its first byte."""
    if not current_user.is_authenticated:
        abort(401)
    if current_user.id != user_id:
        abort(403)

    def with_count(channel: str, message: dict[str, Any], event: StreamEvent) -> dict[str, Any]:
        # Counted when the event arrives: the count of that time may be old by now.
        return {**message, "unread": unread(user_id)}

    return with_count


@notifications.post("/notify")
@login_required
def send() -> ResponseReturnValue:
    """Notify somebody; every other part of an application can call `notify` the same way."""
    to = posted_text("to", called="A name", most=24)
    text = posted_text("text", called="A note", most=500)
    user = User.named(to) or abort(404, f"There is no user {to}.")
    notify(user, current_user.name, text)
    return "", 204


@notifications.post("/read")
@notifications.post(f"/read/<int(max={LARGEST_ID}):note_id>")
@login_required
def read(note_id: int | None = None) -> ResponseReturnValue:
    """Mark one note as read, or all of them."""
    mark_read(current_user, note_id)
    return "", 204


@notifications.cli.command("notify")
@click.argument("name")
@click.argument("text")
def notify_command(name: str, text: str) -> None:
    """Notify a user from the shell, as a cron job or a queue's worker would."""
    user = User.named(name)
    if user is None:
        raise click.ClickException(f"There is no user {name}.")
    notify(user, "a script", text)


def end_streams(app: Flask, *, session: str, **_: Any) -> None:
    """End the streams of all tabs of the session, whichever worker has them."""
    try:
        events.disconnect(identity=session)
    except BrokerError as error:
        # The user is signed out all the same, and `still_signed_in` ends the streams.
        app.logger.error("%s", error)
