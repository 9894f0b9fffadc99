"""What befalls the network and the processes: each fault is a function of the scene.

It undoes changes that must not last; its docstring is its name in the table of the audit.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.support.relay import Relay

from .ledger import FORGED
from .scene import HEARTBEAT, Scene


def kill_a_worker(scene: Scene) -> None:
    """`kill -9` of a worker"""
    scene.signal_a_worker(signal.SIGKILL)


def drain_a_worker(scene: Scene) -> None:
    """SIGTERM to one worker"""
    scene.signal_a_worker(signal.SIGTERM)


def reload(scene: Scene) -> None:
    """HUP: new workers, the old ones drain"""
    scene.server.reload()


def reload_in_a_storm(scene: Scene) -> None:
    """all connections cut, and HUP while the clients reconnect"""
    for page in scene.pages:
        page.drop()
    scene.wait(scene.chance.uniform(0.1, 0.5))
    scene.server.reload()


def cut_pubsub(scene: Scene) -> None:
    """`CLIENT KILL TYPE pubsub`"""
    scene.store.master.kill_pubsub()


def cut_publishers(scene: Scene) -> None:
    """`CLIENT KILL TYPE normal`: the connections that publish"""
    with scene.client() as client:
        for _ in range(5):
            client.client_kill_filter(_type="normal", skipme=True)
            scene.wait(0.05)


def freeze_redis(scene: Scene) -> None:
    """Redis frozen (SIGSTOP) for 3 seconds; sometimes a worker dies meanwhile"""
    scene.store.master.pause()
    try:
        scene.wait(1)
        if scene.chance.random() < 0.5:
            scene.signal_a_worker(scene.chance.choice([signal.SIGKILL, signal.SIGTERM]))
        scene.wait(2)
    finally:
        scene.store.master.resume()


def restart_redis(scene: Scene) -> None:
    """Redis restarted, with its append-only file"""
    scene.store.master.restart()


def crash_redis(scene: Scene) -> None:
    """Redis killed with `kill -9`, and restarted with its append-only file"""
    scene.store.master.restart(signal.SIGKILL)


def tiny_output_buffer(scene: Scene) -> None:
    """a pub/sub output buffer of 64 KiB, and a burst of 1.2 MB"""
    with scene.client() as client:
        client.config_set("client-output-buffer-limit", "pubsub 65536 65536 1")
        scene.burst(15, 80_000, scene.channels)
        scene.wait(0.5)
        client.config_set("client-output-buffer-limit", "pubsub 33554432 8388608 60")


def stall_clients(scene: Scene) -> None:
    """three clients that stop reading, under a burst of 2 MB on their channels"""
    stalled = [page for page in scene.some_pages(0.5) if not page.asked.alone][:3]
    for page in stalled:
        page.stall()
    names = [name for page in stalled for name in page.asked.channels if name in scene.channels]
    scene.burst(100, 20_000, names or scene.channels)
    scene.wait(1)
    for page in stalled:
        page.resume()


def drop_clients(scene: Scene) -> None:
    """the connections of a third of the clients cut"""
    for page in scene.some_pages(1 / 3):
        page.drop()


def come_and_go(scene: Scene) -> None:
    """some pages closed, and others opened"""
    for page in scene.some_pages(0.1):
        scene.pages.remove(page)
        page.leave()
        scene.come()


def fall_silent(scene: Scene) -> None:
    """silence for three heartbeats; clients that reconnect during it"""
    with scene.silence():
        for _ in range(2):
            scene.wait(HEARTBEAT * 1.5)
            drop_clients(scene)


def whisper(scene: Scene) -> None:
    """silence except on channels of one client or of a generator, which then reconnect"""
    alone = [page for page in scene.pages if page.asked.alone]
    gathering = [page for page in scene.pages if page.asked.gathers]
    with scene.silence():
        scene.wait(0.5)
        for page in [*alone, *gathering]:
            # Four messages, because the generator sends three and must hold the fourth.
            scene.emit(page.asked.channels * 4, 10)
        scene.wait(0.3)
        for page in alone:
            page.drop()
        scene.wait(HEARTBEAT * 1.5)
        for page in [*alone, *gathering]:
            page.drop()
        scene.wait(HEARTBEAT * 1.5)


def hop(scene: Scene) -> None:
    """short connections, one after another"""
    hopping = scene.some_pages(0.15)
    for _ in range(12):
        scene.wait(scene.chance.uniform(0.05, 0.4))
        for page in hopping:
            page.drop()


def swallow_an_answer(scene: Scene) -> None:
    """an answer to `emit` swallowed, with more events than a history has before the repetition"""
    _swallow(scene, 1)


def swallow_many_answers(scene: Scene) -> None:
    """an answer to `emit_many` swallowed, with more events than a history has before it repeats"""
    _swallow(scene, 5)


def _swallow(scene: Scene, count: int) -> None:
    channel = scene.chance.choice(scene.channels)
    between = min(scene.where.history + 200, 500)
    with Relay(scene.store.master.port) as relay, scene.emitting_by(relay.url) as emitting:
        # The connection is made.
        emitting.emit([channel])
        relay.meanwhile = lambda: scene.emit([channel] * between, 10)
        relay.losing = 1
        emitting.emit([channel] * count)


def forge(scene: Scene) -> None:
    """PUBLISH by another program: data, envelopes with wrong stamps, copies of genuine payloads"""
    with scene.client() as client, client.pubsub() as pubsub:
        pubsub.psubscribe(f"{scene.prefix}c*")
        for _ in range(5):
            heard = pubsub.get_message(timeout=0.2)
            if heard and heard["type"] == "pmessage":
                client.publish(heard["channel"], heard["data"])
            topic = scene.prefix + scene.chance.choice(scene.channels)
            id = scene.chance.choice(["99999999999999-0", "1-0"])
            client.publish(topic, FORGED)
            client.publish(topic, f':{id} - {FORGED}\nid: {id}\ndata: "{FORGED}"\n\n')


#: Redis loses nothing by these.
HARMLESS: list[Callable[[Scene], None]] = [
    kill_a_worker,
    drain_a_worker,
    reload,
    reload_in_a_storm,
    cut_pubsub,
    cut_publishers,
    freeze_redis,
    tiny_output_buffer,
    stall_clients,
    drop_clients,
    come_and_go,
    fall_silent,
    whisper,
    hop,
    forge,
]
#: Redis loses nothing by these if it has an append-only file.
RESTARTS: list[Callable[[Scene], None]] = [restart_redis, crash_redis]
#: These need a way to Redis that does not change.
SWALLOWED: list[Callable[[Scene], None]] = [swallow_an_answer, swallow_many_answers]
