"""Events that wait for a database's commit, for sessions of SQLAlchemy.

Pages that receive an event before the commit load the old state, and the change may yet be rolled
back.  So the events of a session wait in its outbox, checked and encoded, and leave together once
the outer transaction is committed and its connections are back in their pool.  The events of a
transaction or a SAVEPOINT that is rolled back are dropped with it.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from .broker import Outgoing
from .exceptions import ConfigError, SetupError
from .later import Sender

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, SessionTransaction

#: The key of a session's outbox in its `info`.
NAME = "redis_events"


class _Waiting(NamedTuple):
    #: The transaction, or the SAVEPOINT, with which the event is dropped.
    transaction: SessionTransaction
    sender: Sender
    message: Outgoing
    persist: bool


class Outbox:
    """The events of one session.  Like the session, it is used by one thread at a time."""

    def __init__(self, session: Session) -> None:
        from sqlalchemy import event

        # The session has its outbox in `info`, and would else be freed by the cycle collector only.
        self._session = weakref.ref(session)
        self._waiting: list[_Waiting] = []
        #: Transactions that are committed, and have not ended yet.
        self._committed: set[SessionTransaction] = set()
        event.listen(session, "after_commit", self._note_commit)
        event.listen(session, "after_transaction_end", self._end)

    def put(self, sender: Sender, message: Outgoing, *, persist: bool) -> None:
        """Let a message wait for the session's commit."""
        session = self._session()
        assert session is not None
        if not session.in_transaction():
            if not getattr(session, "autobegin", True):
                raise SetupError(
                    "The session has begun no transaction, and has autobegin=False: call"
                    " emit_on_commit inside of `with session.begin():`."
                )
            # As the session does itself when it is first used: a rollback drops the event.
            session.begin()
        self._waiting.append(_Waiting(_innermost(session), sender, message, persist))

    def _note_commit(self, session: Session) -> None:
        # SQLAlchemy calls this for the release of a SAVEPOINT, too.
        if self._waiting:
            self._committed.add(_innermost(session))

    def _end(self, session: Session, transaction: SessionTransaction) -> None:
        if not self._waiting:
            return
        committed = transaction in self._committed
        self._committed.discard(transaction)
        if committed and transaction.parent is None:
            waiting, self._waiting = self._waiting, []
            _send(waiting)
        elif committed:
            # A SAVEPOINT was released, so its events are those of the transaction around it.
            outer = _innermost(session)
            self._waiting = [
                one._replace(transaction=outer) if one.transaction is transaction else one
                for one in self._waiting
            ]
        else:
            self._waiting = [one for one in self._waiting if one.transaction is not transaction]


def outbox(session: object) -> Outbox:
    """Return the outbox of a session, which may be scoped."""
    found = _session(session)
    if NAME not in found.info:
        found.info[NAME] = Outbox(found)
    return found.info[NAME]  # type: ignore[no-any-return]


def _session(given: object) -> Session:
    try:
        from sqlalchemy.orm import Session, scoped_session
    except ImportError as error:
        raise SetupError(
            "emit_on_commit needs SQLAlchemy: python -m pip install sqlalchemy."
        ) from error
    if isinstance(given, scoped_session):
        given = given()
    if isinstance(given, Session):
        return given
    hint = "db.session" if hasattr(given, "session") else "session.sync_session"
    fix = f": pass {hint}" if hasattr(given, hint.partition(".")[2]) else ""
    raise ConfigError(
        f"emit_on_commit takes a session of SQLAlchemy, or a scoped one, not {given!r}{fix}."
    )


def _innermost(session: Session) -> SessionTransaction:
    """Return the SAVEPOINT that the session is in, or else its outer transaction."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    assert transaction is not None
    return transaction


def _send(waiting: Iterable[_Waiting]) -> None:
    """Let each emitter send its events together, in order."""
    of_sender: dict[Sender, list[_Waiting]] = {}
    for one in waiting:
        of_sender.setdefault(one.sender, []).append(one)
    for sender, events in of_sender.items():
        for persist, run in itertools.groupby(events, lambda one: one.persist):
            sender.send([one.message for one in run], persist=persist)
