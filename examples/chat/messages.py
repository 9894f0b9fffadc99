"""Messages as they are stored, and the events that tell a room of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from flask import render_template
from sqlalchemy import ForeignKey, Index, func, select
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship

from examples.accounts import Base, User, db, utcnow
from flask_redis_events import RedisEvents

events = RedisEvents()

#: A user's typing is told once in so many seconds, however many keys they press.
TYPING_EVERY = 2.0

#: When each user's typing in each room was told, in the last `TYPING_EVERY`; a worker has its own.
_typed_at: dict[tuple[int, str], float] = {}


class Message(Base):
    __tablename__ = "message"
    __table_args__ = (Index("ix_message_room_id", "room", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    room: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    author: Mapped[User] = relationship()
    text: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=utcnow)


def say(room: str, author: User, text: str) -> str:
    """Store a message, show it to all who are in the room, and return its HTML."""
    message = Message(room=room, author=author, text=text)
    db.session.add(message)
    # The database gives out the id and the time, and the event needs them.
    db.session.flush()
    html = render_template("_message.html", message=message)
    # After the commit, and never if there is none: a page must not show what the database lacks.
    events.emit_on_commit(db.session, channel(room), {"html": html})
    _typed_at.pop((author.id, room), None)
    db.session.commit()
    return html


def recent(room: str, *, before: int | None = None, count: int = 30) -> Sequence[Message]:
    """Return the last messages of the room, or those before the message `before`, oldest first."""
    messages = select(Message).filter_by(room=room).order_by(Message.id.desc()).limit(count)
    if before is not None:
        messages = messages.where(Message.id < before)
    messages = messages.options(joinedload(Message.author))
    return db.session.scalars(messages).all()[::-1]


def rooms(*more: str, count: int = 20) -> list[str]:
    """Return the names of the rooms with the newest messages, and of `more`."""
    newest = select(Message.room).group_by(Message.room).order_by(func.max(Message.id).desc())
    return sorted({*db.session.scalars(newest.limit(count)), *more})


def type_in(room: str, user: User) -> None:
    """Tell the room that the user is typing, but not too often."""
    now = time.monotonic()
    for typist, at in list(_typed_at.items()):
        if now - at >= TYPING_EVERY:
            _typed_at.pop(typist, None)
    if (user.id, room) in _typed_at:
        return
    _typed_at[user.id, room] = now
    # Transient, because it is not true any more for a page that comes later.
    events.emit(channel(room), {"name": user.name}, event="typing", persist=False)


def channel(room: str) -> str:
    return f"chat:{room}"
