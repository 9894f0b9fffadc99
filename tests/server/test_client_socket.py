"""A client's connection, by its descriptor.

`watch` and `when_writable` work under gevent only; their tests let gevent's loop run.  `look` works
under threads only; its tests are given Python's own sockets, as in a process without gevent.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import gevent.monkey
import pytest

from flask_redis_events import concurrency
from flask_redis_events.concurrency import spawn
from flask_redis_events.server import ClientSocket
from flask_redis_events.server.client_socket import JUNK
from tests.support.connection import Connection
from tests.support.waiting import wait_until

under_gevent = pytest.mark.usefixtures("gevent_loop")
under_threads = pytest.mark.usefixtures("no_gevent")


@pytest.fixture
def no_gevent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package finds a process that gevent has not patched, as far as sockets go."""
    monkeypatch.setattr(concurrency, "patched", lambda: False)
    monkeypatch.setattr(socket, "socket", gevent.monkey.get_original("socket", "socket"))


@pytest.fixture
def client(connection: Connection) -> Iterator[ClientSocket]:
    client = ClientSocket(connection.server.fileno())
    yield client
    client.release()


class Gone:
    """Counts how often the client was said to have gone."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def gone() -> Gone:
    return Gone()


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


# --- which connection -------------------------------------------------------------------------


class Encrypted(socket.socket):
    """A socket with TLS, as far as one can see from here."""

    def cipher(self) -> None: ...


@pytest.mark.parametrize("name", ["gunicorn.socket", "gunicorn.sock", "werkzeug.socket"])
def test_a_server_names_its_connection_in_the_environ(connection, name):
    """The connection is found under each server's name for it."""
    client = ClientSocket.of({name: connection.server, "SERVER_PROTOCOL": "HTTP/1.1"})

    assert client.fd == connection.server.fileno()


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="a server that does not name it"),
        pytest.param({"gunicorn.socket": object()}, id="something else"),
        pytest.param({"SERVER_PROTOCOL": "HTTP/2"}, id="other requests share the connection"),
        pytest.param({"SERVER_PROTOCOL": ""}, id="unknown protocol"),
    ],
)
def test_a_connection_that_is_not_the_streams_alone_is_not_used(connection, environ):
    """There is no client socket where the server gives no access to the connection."""
    given = {} if not environ else {"gunicorn.socket": connection.server}

    assert ClientSocket.of({"SERVER_PROTOCOL": "HTTP/1.1", **given, **environ}) is None


@under_gevent
def test_an_encrypted_connection_is_neither_read_nor_kept(gone):
    """Over TLS the client can only be cut off."""
    server, other = Encrypted(), socket.socket()
    client = ClientSocket.of({"gunicorn.socket": server, "SERVER_PROTOCOL": "HTTP/1.1"})
    watched, kept = client.watch(gone), client.keep(server)
    client.look(gone)
    server.close()
    other.close()

    assert (watched, kept, gone.count) == (False, False, 0)


# --- watching, under gevent -------------------------------------------------------------------


@under_gevent
@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(lambda end: end.close(), id="close"),
        pytest.param(lambda end: end.shutdown(socket.SHUT_WR), id="half-close"),
        pytest.param(lambda end: end.shutdown(socket.SHUT_RDWR), id="shutdown"),
    ],
)
def test_a_client_that_leaves_is_noticed_once(connection, client, gone, leave):
    """A client that closes its connection, or its sending side, has gone."""
    watched = client.watch(gone)
    leave(connection.client)
    wait_until(lambda: gone.count)
    time.sleep(0)

    assert watched
    assert gone.count == 1


@under_gevent
def test_a_connection_that_is_reset_is_noticed(connection, client, gone):
    """A client that closes without reading all resets the connection, and has gone."""
    connection.server.send(b"unread")
    client.watch(gone)
    connection.client.close()

    assert wait_until(lambda: gone.count) == 1


@under_gevent
def test_a_client_may_send_into_its_stream(connection, client, gone):
    """Bytes from a client are discarded; only the end that follows them says that it has gone."""
    client.watch(gone)
    connection.client.send(b"GET / HTTP/1.1\r\n\r\n")
    wait_until(lambda: waiting_bytes(connection.server) == 0)
    while_it_stays = gone.count
    connection.client.send(b"more")
    connection.client.close()

    assert while_it_stays == 0
    assert wait_until(lambda: gone.count) == 1


@under_gevent
def test_a_client_may_not_send_without_end(connection, client, gone):
    """A client that sends more than the most is treated as gone, and read no more."""
    client.watch(gone)
    sent = 0
    while sent <= JUNK:
        before = gone.count
        sent += connection.client.send(b"." * 4096)
        wait_until(lambda: gone.count or waiting_bytes(connection.server) == 0)

    assert (before, gone.count) == (0, 1)


@under_gevent
def test_a_second_watch_replaces_the_first(connection, client, gone):
    """A stream that watches its client again is told once, in the newer way."""
    earlier = Gone()
    client.watch(earlier)
    client.watch(gone)
    connection.client.close()
    wait_until(lambda: gone.count)

    assert (earlier.count, gone.count) == (0, 1)


@under_gevent
def test_a_released_client_is_watched_no_more(connection, client, gone):
    """Nobody is told of a client whose stream has given its connection up."""
    client.watch(gone)
    client.release()
    connection.client.close()
    gevent.idle()

    assert gone.count == 0


@under_threads
def test_without_gevent_nothing_is_watched(client, gone):
    """Under threads `watch` says that somebody has to look."""
    assert not client.watch(gone)


def waiting_bytes(end: socket.socket) -> int:
    """Return how many bytes an end has not read, up to 1000."""
    try:
        return len(end.recv(1000, socket.MSG_PEEK))
    except BlockingIOError:
        return 0


# --- looking, under threads -------------------------------------------------------------------


@under_threads
@pytest.mark.parametrize(
    "act, count",
    [
        pytest.param(lambda end: None, 0, id="still there"),
        pytest.param(lambda end: end.send(b"junk"), 0, id="junk"),
        pytest.param(lambda end: end.close(), 1, id="close"),
        pytest.param(lambda end: end.shutdown(socket.SHUT_WR), 1, id="half-close"),
        pytest.param(lambda end: end.send(b"junk") and end.close(), 1, id="junk, then close"),
    ],
)
def test_a_look_finds_out_whether_the_client_has_left(connection, client, gone, act, count):
    """A look discards what the client has sent, and never waits for more."""
    act(connection.client)
    client.look(gone)

    assert gone.count == count
    assert waiting_bytes(connection.server) == 0
    assert is_open(connection.server.fileno())


@under_threads
def test_a_look_finds_a_reset_connection(connection, client, gone):
    """A client that has reset its connection has left."""
    connection.server.send(b"unread")
    connection.client.close()
    client.look(gone)

    assert gone.count == 1


@under_threads
def test_looks_add_up_what_a_client_sends(connection, client, gone):
    """A client that has sent more than the most, however slowly, is treated as gone."""
    for _ in range(JUNK // 4096):
        connection.client.send(b"." * 4096)
        client.look(gone)
    at_the_most = gone.count
    connection.client.send(b".")
    client.look(gone)

    assert (at_the_most, gone.count) == (0, 1)


@under_threads
def test_a_released_client_is_looked_at_no_more(connection, client, gone):
    """A look after the release finds nothing, as the descriptor may be another client's."""
    client.release()
    connection.client.close()
    client.look(gone)

    assert gone.count == 0


@under_gevent
def test_under_gevent_a_look_does_nothing(connection, client, gone):
    """Under gevent a client is watched, and a look would take what the watcher reads."""
    connection.client.close()
    client.look(gone)

    assert gone.count == 0


@under_threads
@pytest.mark.parametrize("act", ["look", "cut"])
def test_a_descriptor_is_not_released_while_another_thread_uses_it(
    connection, client, gone, monkeypatch, act
):
    """`release` waits for a look or a cut that is under way, as the server closes after it."""
    using, go_on = threading.Event(), threading.Event()
    released: list[bool] = []

    class Slow(gevent.monkey.get_original("socket", "socket")):  # type: ignore[misc]
        """A socket that is used for as long as the test likes."""

        def recv(self, *args: int) -> bytes:
            using.set()
            go_on.wait(5)
            return b""

        def shutdown(self, how: int) -> None:
            using.set()
            go_on.wait(5)

    monkeypatch.setattr(socket, "socket", Slow)
    user = spawn("test", client.cut if act == "cut" else lambda: client.look(gone))
    using.wait(5)
    server = spawn("test", lambda: released.append(client.release() is None))
    server.join(0.05)
    while_used = list(released)
    go_on.set()
    user.join(5)
    server.join(5)

    assert while_used == []
    assert released == [True]
    assert client.fd == -1


# --- keeping and releasing --------------------------------------------------------------------


def test_a_kept_connection_outlives_the_servers(connection, client):
    """After `keep`, the server's own close closes nothing; the release does, and once."""
    fd, kept = client.fd, client.keep(connection.server)
    connection.server.close()
    connection.read()
    open_until_then = not connection.ended
    client.release()
    # gevent closes a descriptor in the loop's next turn.
    connection.read_until(lambda: connection.ended)

    assert kept
    assert open_until_then
    assert client.fd == -1 != fd


@under_gevent
def test_a_kept_connection_is_watched_on(connection, client, gone):
    """A client that leaves after its connection was kept is noticed."""
    client.watch(gone)
    client.keep(connection.server)
    connection.server.close()
    connection.client.close()

    assert wait_until(lambda: gone.count) == 1


def test_only_the_connections_own_socket_is_taken_over(connection, client):
    """A server whose socket object is another one, or closed, keeps what it has."""
    other = socket.socket()
    kept = client.keep(other)
    still_open = is_open(other.fileno())
    other.close()

    assert (kept, client.keep(other)) == (False, False)
    assert still_open
    assert connection.server.fileno() == client.fd


def test_a_borrowed_descriptor_stays_open(connection, client):
    """A release closes nothing that belongs to the server, and may come twice."""
    client.release()
    client.release()
    connection.server.send(b"the server's own")

    assert connection.read() == b"the server's own"


def test_a_second_release_does_not_close_the_next_clients_connection(connection, client):
    """A released client's descriptor has another owner by now, and is left alone."""
    client.keep(connection.server)
    fd = client.fd
    client.release()
    wait_until(lambda: not is_open(fd))
    os.dup2(connection.client.fileno(), fd)
    client.release()
    gevent.idle()
    still_open = is_open(fd)
    os.close(fd)

    assert still_open


# --- ending -----------------------------------------------------------------------------------


def test_a_client_that_is_cut_reads_the_end(connection, client):
    """`cut` ends the connection for both sides, and leaves its descriptor to the server."""
    client.cut()
    connection.read()

    assert connection.ended
    with pytest.raises(BrokenPipeError):
        connection.server.send(b"data")


def test_a_client_that_is_finished_is_asked_no_more(connection, client):
    """After `finish`, the server reads the end where a next request would be, and may write."""
    client.finish()
    read = connection.server.recv(1000)
    connection.server.send(b"the last chunk")

    assert read == b""
    assert connection.read() == b"the last chunk"


@pytest.mark.parametrize("end", [ClientSocket.cut, ClientSocket.finish])
def test_a_released_connection_is_not_ended(connection, client, end: Callable[..., None]):
    """After its release, a connection belongs to the server alone."""
    client.release()
    end(client)
    connection.server.send(b"the server's own")

    assert connection.read() == b"the server's own"


@pytest.mark.parametrize("end", [ClientSocket.cut, ClientSocket.finish])
def test_a_connection_that_is_connected_no_more_may_be_ended(end):
    """Ending a connection raises nothing, though the system finds nothing to end.

    A connection that its client has reset is as a socket that was never connected.
    """
    with socket.socket() as server:
        end(ClientSocket(server.fileno()))
        still_open = is_open(server.fileno())

    assert still_open


# --- writing ----------------------------------------------------------------------------------


@under_gevent
def test_a_writer_is_called_until_it_has_written_all(connection, client):
    """A writer is called while the socket accepts bytes, until it returns False."""
    answers = iter([True, True, False])
    calls: list[int] = []

    def write() -> bool:
        calls.append(1)
        return next(answers)

    client.when_writable(write)
    at_once = len(calls)
    wait_until(lambda: len(calls) == 3)
    gevent.idle()

    assert at_once == 0
    assert len(calls) == 3


@under_gevent
def test_a_writer_waits_until_the_socket_accepts_bytes(connection, client):
    """A full socket calls no writer before the client reads."""
    connection.fill()
    calls: list[int] = []

    def write() -> bool:
        calls.append(1)
        return False

    client.when_writable(write)
    gevent.idle()
    before = list(calls)
    connection.read_until(lambda: calls)

    assert before == []
    assert calls == [1]


@under_gevent
def test_a_writer_may_ask_to_be_called_while_it_is(connection, client):
    """A writer that asks again in the midst of its call has one watcher, and ends it as always."""
    calls: list[int] = []

    def write() -> bool:
        calls.append(1)
        client.when_writable(write)
        return len(calls) < 2

    client.when_writable(write)
    wait_until(lambda: len(calls) == 2)
    gevent.idle()

    assert len(calls) == 2
    client.when_writable(write)
    assert wait_until(lambda: len(calls) == 3)


@under_gevent
def test_a_writer_may_release_the_connection(connection, client):
    """A writer that ends its stream in the midst of its call is not called again."""
    calls: list[int] = []

    def write() -> bool:
        calls.append(1)
        client.release()
        return True

    client.when_writable(write)
    wait_until(lambda: calls)
    gevent.idle()

    assert calls == [1]
