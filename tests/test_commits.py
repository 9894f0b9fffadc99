"""Events that wait for the commit of a session, on SQLite and on PostgreSQL."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from flask_redis_events import (
    ConfigError,
    Emitter,
    FieldError,
    RedisEvents,
    ServerSentEvent,
    SetupError,
    signals,
)
from flask_redis_events.broker import commands
from flask_redis_events.concurrency import spawn
from tests.support.postgres import Postgres
from tests.support.postgres import postgres as postgres
from tests.support.waiting import wait_until


class Base(orm.DeclarativeBase):
    pass


class Card(Base):
    __tablename__ = "card"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    #: Checked at the commit, which fails if there is no such card.
    after: orm.Mapped[int | None] = orm.mapped_column(
        sa.ForeignKey("card.id", deferrable=True, initially="DEFERRED")
    )


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'database'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    yield from make_engine(url)


@pytest.fixture
def postgres_engine(postgres: Postgres) -> Iterator[sa.Engine]:
    yield from make_engine(postgres.url)


def make_engine(url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url, pool_size=10)
    if engine.dialect.name == "sqlite":
        let_sqlite_have_transactions(engine)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def let_sqlite_have_transactions(engine: sa.Engine) -> None:
    """Let SQLAlchemy begin them, as Python's driver begins them too late for a SAVEPOINT."""

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[orm.Session]:
    with orm.Session(engine) as session:
        yield session


@pytest.fixture
def emitter(redis_server, prefix) -> Iterator[Emitter]:
    emitter = Emitter(redis_server.url, prefix=prefix)
    yield emitter
    emitter.close()


def sent(emitter: Any, channel: str = "cards") -> list[Any]:
    return [one.data for one in emitter.history(channel, limit=1000)]


def add(emitter: Any, session: Any, number: int, **fields: Any) -> None:
    """Write a card, and emit its number with the commit."""
    session.add(Card(id=number, **fields))
    emitter.emit_on_commit(session, "cards", number)


def test_events_leave_with_the_commit(emitter, session):
    """Nothing is emitted before the commit, and then all events in order; the rows are there."""
    for number in (1, 2, 3):
        add(emitter, session, number)
    session.flush()

    assert sent(emitter) == []
    session.commit()
    assert sent(emitter) == [1, 2, 3]
    assert session.scalars(sa.select(Card.id)).all() == [1, 2, 3]


def test_all_events_of_a_commit_are_one_call(own_redis_server, engine):
    """Redis runs one script, however many events and channels there are."""
    emitter = Emitter(own_redis_server.url)
    emitter.emit("a", "the scripts are loaded")
    redis = own_redis_server.client()
    redis.config_resetstat()
    with orm.Session(engine) as session, session.begin():
        for number in range(50):
            emitter.emit_on_commit(session, f"c{number % 3}", number)

    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
    assert [sent(emitter, f"c{number}") for number in range(3)] == [
        list(range(number, 50, 3)) for number in range(3)
    ]
    emitter.close()


def test_nothing_is_left_of_a_rollback(emitter, session):
    """A rollback, a closed session and an error in `begin()` drop the events."""
    add(emitter, session, 1)
    session.rollback()
    add(emitter, session, 2)
    session.close()
    with pytest.raises(ZeroDivisionError), session.begin():
        add(emitter, session, 3)
        1 / 0  # noqa: B018
    emitter.emit_on_commit(session, "cards", "in no transaction")
    session.rollback()
    session.commit()

    assert sent(emitter) == []
    assert session.scalars(sa.select(Card.id)).all() == []


def test_a_session_is_used_again(emitter, session):
    """A commit sends what was emitted since the last one, after a rollback too."""
    add(emitter, session, 1)
    session.commit()
    add(emitter, session, 2)
    session.rollback()
    session.commit()
    add(emitter, session, 3)
    session.commit()
    session.commit()

    assert sent(emitter) == [1, 3]


def test_a_savepoint_takes_its_events_with_it(emitter, session):
    """Events of a SAVEPOINT that is rolled back are dropped, all others keep their order."""
    add(emitter, session, 1)
    with session.begin_nested():
        add(emitter, session, 2)
        with session.begin_nested():
            add(emitter, session, 3)
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            add(emitter, session, 4)
            with session.begin_nested():
                # It is released, into a SAVEPOINT that is not.
                add(emitter, session, 5)
            1 / 0  # noqa: B018
        add(emitter, session, 6)
    assert sent(emitter) == []
    dropped = session.begin_nested()
    add(emitter, session, 7)
    dropped.rollback()
    add(emitter, session, 8)
    session.commit()

    assert sent(emitter) == [1, 2, 3, 6, 8]
    assert session.scalars(sa.select(Card.id).order_by(Card.id)).all() == [1, 2, 3, 6, 8]


def test_a_released_savepoint_is_no_commit(emitter, session):
    """Its events are dropped if the outer transaction is rolled back."""
    with session.begin_nested():
        add(emitter, session, 1)
    session.rollback()
    session.commit()

    assert sent(emitter) == []


def test_a_commit_with_open_savepoints_commits_all(emitter, session):
    """`session.commit()` releases the SAVEPOINTs that are open."""
    session.begin_nested()
    add(emitter, session, 1)
    session.begin_nested()
    add(emitter, session, 2)
    session.commit()

    assert sent(emitter) == [1, 2]


def test_a_flush_that_fails_in_a_savepoint_drops_its_events(emitter, session):
    """The usual way to insert a row that may be there already."""
    add(emitter, session, 1)
    session.commit()
    session.expunge_all()
    add(emitter, session, 2)
    with pytest.raises(sa.exc.IntegrityError), session.begin_nested():
        add(emitter, session, 1)
    session.commit()

    assert sent(emitter) == [1, 2]


def test_a_commit_that_fails_emits_nothing(emitter, session):
    """The database refuses the commit itself, because of a deferred constraint."""
    add(emitter, session, 1, after=99)
    session.flush()
    with pytest.raises(sa.exc.IntegrityError):
        session.commit()
    session.rollback()
    add(emitter, session, 2)
    session.commit()

    assert sent(emitter) == [2]


def test_events_may_come_from_a_hook_of_the_session(emitter, session):
    """A hook that emits for each flush sees its events sent, or dropped, like all others."""

    @sa.event.listens_for(session, "after_flush")
    def emit(session: orm.Session, context: Any) -> None:
        for card in session.new:
            emitter.emit_on_commit(session, "cards", card.id)

    session.add(Card(id=1))
    with pytest.raises(ZeroDivisionError), session.begin_nested():
        session.add(Card(id=2))
        session.flush()
        1 / 0  # noqa: B018
    session.add(Card(id=3))
    session.commit()

    assert sent(emitter) == [1, 3]


def test_data_is_encoded_at_once(emitter, session):
    """A value that changes before the commit is sent as it was; a wrong one raises at the call."""
    card = {"state": "new"}
    emitter.emit_on_commit(session, "cards", card)
    card["state"] = "changed"
    with pytest.raises(FieldError, match="JSON has no NaN"):
        emitter.emit_on_commit(session, "cards", float("nan"))
    session.commit()

    assert sent(emitter) == [{"state": "new"}]


def test_it_has_the_options_of_emit(emitter, session):
    """An event has its name, key and raw data; one that is not kept keeps its place."""
    emitter.emit_on_commit(session, "cards", 1, event="card", retry=500, key="k")
    emitter.emit_on_commit(session, "cards", 2, persist=False)
    emitter.emit_on_commit(session, "cards", ServerSentEvent(raw="<li>", event="card"))
    session.commit()

    assert [(one.event, one.data) for one in emitter.history("cards")] == [
        ("card", 1),
        ("card", "<li>"),
    ]


def test_each_emitter_sends_its_own(redis_server, prefix, session):
    """A session may have events of several emitters, as of an application and a library."""
    emitters = [Emitter(redis_server.url, prefix=f"{prefix}{number}:") for number in range(2)]
    for number in range(4):
        emitters[number % 2].emit_on_commit(session, "cards", number)
    session.commit()

    assert [sent(emitter) for emitter in emitters] == [[0, 2], [1, 3]]
    for emitter in emitters:
        emitter.close()


# --- two phases -------------------------------------------------------------------------------


@pytest.mark.parametrize("prepare", [False, True])
def test_a_transaction_of_two_phases(emitter, postgres_engine, prepare):
    """A prepared transaction emits with its commit, and not before."""
    with orm.Session(postgres_engine, twophase=True) as session:
        add(emitter, session, 1)
        with session.begin_nested():
            add(emitter, session, 2)
        if prepare:
            session.prepare()
        assert sent(emitter) == []
        session.commit()
        assert sent(emitter) == [1, 2]

        add(emitter, session, 3)
        if prepare:
            session.prepare()
        session.rollback()
        session.commit()
    assert sent(emitter) == [1, 2]


# --- failures ---------------------------------------------------------------------------------


def test_a_full_state_refuses_its_own_event_only(redis_server, prefix, engine, caplog):
    """The other events of the transaction leave, in order and once."""
    emitter = Emitter(redis_server.url, prefix=prefix, state_keys=1)
    kept: Any = {"keep": "latest"}
    with orm.Session(engine) as session, caplog.at_level(logging.ERROR, "flask_redis_events"):
        emitter.emit_on_commit(session, "cards", 1)
        emitter.emit_on_commit(session, "cards", 2, key="a", **kept)
        emitter.emit_on_commit(session, "cards", 3, key="b", **kept)
        emitter.emit_on_commit(session, "other", 4)
        emitter.emit_on_commit(session, "cards", 5)
        session.commit()

    assert sent(emitter) == [1, 2, 5]
    assert [one.data for one in emitter.history("other")] == [4]
    assert emitter.metrics["emit_failed"] == 1
    assert "1 events for cards were not emitted" in caplog.text
    emitter.close()


def test_a_failed_emit_leaves_the_commit_alone(own_redis_server, engine, monkeypatch, caplog):
    """The row is there; the failure is logged, counted and signalled, by both kinds of emitter."""
    monkeypatch.setattr(commands, "PATIENCE", 0.3)
    app = Flask(__name__)
    app.config["REDIS_EVENTS_URL"] = own_redis_server.url
    events, emitter = RedisEvents(app), Emitter(own_redis_server.url)
    told: list[Any] = []

    def tell(sender: Any, **what: Any) -> None:
        told.append((sender, what["channels"], type(what["exception"]).__name__))

    signals.emit_failed.connect(tell)
    own_redis_server.stop()
    with orm.Session(engine) as session, caplog.at_level(logging.ERROR, "flask_redis_events"):
        add(events, session, 1)
        events.emit_on_commit(session, "other", 1)
        add(emitter, session, 2)
        session.commit()

        assert session.scalars(sa.select(Card.id)).all() == [1, 2]
    assert told == [
        (app, ["cards", "other"], "BrokerError"),
        (None, ["cards"], "BrokerError"),
    ]
    assert events.hub.metrics["emit_failed"] == 2
    assert emitter.metrics["emit_failed"] == 1
    assert "2 events for cards, other were not emitted." in caplog.text
    signals.emit_failed.disconnect(tell)
    emitter.close()


def test_no_connection_waits_for_redis(own_redis_server, url):
    """The database's connection is back in its pool while the events leave."""
    engine = sa.create_engine(url, pool_size=1, max_overflow=0, pool_timeout=3)
    emitter = Emitter(own_redis_server.url)
    emitter.emit("cards", 0)
    own_redis_server.pause()

    def commit() -> None:
        with orm.Session(engine) as session, session.begin():
            session.execute(sa.text("SELECT 1"))
            emitter.emit_on_commit(session, "cards", 1)

    thread = spawn("test", commit)
    wait_until(lambda: engine.pool.checkedin() == 1)  # type: ignore[attr-defined]
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1
    own_redis_server.resume()
    thread.join(10)

    assert sent(emitter) == [0, 1]
    emitter.close()
    engine.dispose()


class OnlyASession:
    sync_session = None


class OnlyADatabase:
    session = None


@pytest.mark.parametrize(
    "given, fix",
    [
        pytest.param(None, "takes a session of SQLAlchemy", id="None"),
        pytest.param(OnlyADatabase(), "pass db.session", id="Flask-SQLAlchemy's db"),
        pytest.param(OnlyASession(), "pass session.sync_session", id="AsyncSession"),
    ],
)
def test_what_is_no_session_is_refused(emitter, given, fix):
    """The error says what to pass instead."""
    with pytest.raises(ConfigError, match=fix):
        emitter.emit_on_commit(given, "cards", 1)


def test_a_session_that_begins_nothing_by_itself(emitter, engine):
    """With autobegin=False there must be a transaction, and the error says how to have one."""
    with orm.Session(engine, autobegin=False) as session:
        with pytest.raises(SetupError, match=r"inside of `with session\.begin"):
            emitter.emit_on_commit(session, "cards", 1)
        with session.begin():
            emitter.emit_on_commit(session, "cards", 2)

    assert sent(emitter) == [2]


def test_without_sqlalchemy(emitter, monkeypatch):
    """SQLAlchemy is optional; the error names the package."""
    monkeypatch.setitem(sys.modules, "sqlalchemy.orm", None)
    with pytest.raises(SetupError, match="pip install sqlalchemy"):
        emitter.emit_on_commit(object(), "cards", 1)


# --- many sessions ----------------------------------------------------------------------------


def test_threads_have_sessions_of_their_own(emitter, engine):
    """Sessions of many threads, or greenlets, mix nothing up: one event for each committed row."""
    scoped = orm.scoped_session(orm.sessionmaker(engine))
    errors: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for number in range(first, first + 10):
                add(emitter, scoped, number)
                if number % 3 == 0:
                    with scoped.begin_nested() as savepoint:
                        add(emitter, scoped, number + 1000)
                        savepoint.rollback()
                scoped.flush()
                scoped.commit() if number % 2 else scoped.rollback()
        except BaseException as error:
            errors.append(error)
        finally:
            scoped.remove()

    threads: list[threading.Thread] = [
        spawn("test", lambda first=first: work(first))  # type: ignore[misc]
        for first in range(0, 80, 10)
    ]
    for thread in threads:
        thread.join(30)
    with orm.Session(engine) as session:
        rows = session.scalars(sa.select(Card.id).order_by(Card.id)).all()

    assert errors == []
    assert rows == list(range(1, 80, 2)) == sorted(sent(emitter))


def test_flask_sqlalchemy(url, redis_server, prefix):
    """`db.session` in views: a commit emits, a request that ends without one emits nothing."""
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=url,
        REDIS_EVENTS_URL=redis_server.url,
        REDIS_EVENTS_PREFIX=prefix,
    )
    db, events = SQLAlchemy(app, model_class=Base), RedisEvents(app)

    @app.post("/cards/<int:number>")
    def create(number: int) -> str:
        events.emit_on_commit(db.session, "cards", {"id": number}, event="card")
        db.session.add(Card(id=number))
        if number % 2:
            db.session.commit()
        return ""

    with app.app_context():
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
    for number in range(1, 5):
        assert app.test_client().post(f"/cards/{number}").status_code == 200

    with app.app_context():
        assert [(one.event, one.data) for one in events.history("cards")] == [
            ("card", {"id": 1}),
            ("card", {"id": 3}),
        ]
        assert db.session.scalars(sa.select(Card.id)).all() == [1, 3]
        db.session.remove()
        db.engine.dispose()
    events.hub.broker.close()
