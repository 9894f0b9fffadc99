"""Notifications as they are stored, and the events that tell a user's tabs of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flask import render_template
from sqlalchemy import ForeignKey, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from examples.accounts import Base, User, db, utcnow
from flask_redis_events import RedisEvents

events = RedisEvents()


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), index=True)
    sender: Mapped[str]
    text: Mapped[str]
    #: When it happened, and not when a browser learns of it: a note may be a day old by then.
    at: Mapped[datetime] = mapped_column(default=utcnow)
    read: Mapped[bool] = mapped_column(default=False)


def notify(user: User, sender: str, text: str) -> None:
    """Store a note, and show it in all tabs of the user; callable in any process."""
    note = Note(user_id=user.id, sender=sender, text=text)
    db.session.add(note)
    # The database gives out the id, and the event needs it.
    db.session.flush()
    html = render_template("_note.html", note=note)
    _emit_on_commit(user, "note", {"id": note.id, "html": html})
    db.session.commit()


def mark_read(user: User, note_id: int | None = None) -> None:
    """Mark a note of the user as read, or all of them, and let all tabs do the same."""
    change = update(Note).filter_by(user_id=user.id, read=False).values(read=True)
    if note_id is not None:
        change = change.filter_by(id=note_id)
    read = db.session.scalars(change.returning(Note.id)).all()
    if read:
        _emit_on_commit(user, "read", {"ids": read})
    db.session.commit()


def newest(user: User, count: int = 50) -> Sequence[Note]:
    notes = select(Note).filter_by(user_id=user.id).order_by(Note.id.desc()).limit(count)
    return db.session.scalars(notes).all()


def unread(user_id: int) -> int:
    notes = select(func.count()).select_from(Note).filter_by(user_id=user_id, read=False)
    return db.session.scalar(notes) or 0


def _emit_on_commit(user: User, event: str, data: dict[str, object]) -> None:
    # After the commit, because a tab that hears earlier would load the old state, and never if the
    # transaction is rolled back.
    events.emit_on_commit(db.session, f"user:{user.id}", data, event=event)
