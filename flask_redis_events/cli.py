"""`flask redis-events …`: emit, watch and test from a shell, with the application's settings."""

from __future__ import annotations

import json
import sys
import time

import click
from flask import current_app
from flask.cli import with_appcontext

from .channels import TICKS, parse_all
from .clients.subscription import Subscription
from .exceptions import BrokerError, RedisEventsError
from .extension import NAME, RedisEvents
from .settings import without_password


@click.group("redis-events")
def cli() -> None:
    """Emit events, watch channels, and test the path from emit to a receiver."""


def _events() -> RedisEvents:
    events = current_app.extensions.get(NAME)
    if not isinstance(events, RedisEvents):
        raise click.ClickException("The application has no RedisEvents: call events.init_app(app).")
    return events


def _is_settled(subscription: Subscription, timeout: float) -> bool:
    """Wait until Redis has acknowledged the channels, or refused one of them."""
    return subscription.wait(lambda: subscription.live or subscription.closed, timeout)


def _check_heard(subscription: Subscription) -> None:
    """Raise unless Redis has let its user subscribe; a refusal closes the subscription."""
    if subscription.closed is not None:
        raise click.ClickException("Redis' ACL forbids its user this channel: see the log.")


@cli.command()
@click.argument("channel")
@click.argument("data")
@click.option("--event", help="The SSE event name.")
@click.option("--transient", is_flag=True, help="Do not keep the event in history.")
@with_appcontext
def emit(channel: str, data: str, event: str | None, transient: bool) -> None:
    """Emit DATA on CHANNEL, and print the event's id.

    DATA that is not JSON is sent as text; "-" reads it from standard input.
    """
    text = sys.stdin.read() if data == "-" else data
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    try:
        click.echo(_events().emit(channel, value, event=event, persist=not transient) or "sent")
    except RedisEventsError as error:
        raise click.ClickException(str(error)) from error


@cli.command()
@click.argument("channels", nargs=-1, required=True)
@click.option("--count", type=click.IntRange(min=1), help="Stop after this many messages.")
@with_appcontext
def watch(channels: tuple[str, ...], count: int | None) -> None:
    """Print the messages of CHANNELS as they arrive, one on each line.

    CHANNELS are names or patterns.  A line has the id, the channel, the event and the data,
    separated by tabs.
    """
    try:
        subscription = Subscription(parse_all(list(channels)))
    except RedisEventsError as error:
        raise click.ClickException(str(error)) from error
    hub = _events().hub
    hub.listen(subscription)
    while not _is_settled(subscription, 2.0):
        click.echo("waiting for Redis …", err=True)
    seen = 0
    try:
        _check_heard(subscription)
        while count is None or seen < count:
            for batch in subscription.take():
                for message in batch.messages[: None if count is None else count - seen]:
                    value = json.dumps(message.value, ensure_ascii=False)
                    id = message.id or "-"
                    click.echo(f"{id}\t{message.channel}\t{message.event or ''}\t{value}")
                    seen += 1
    finally:
        hub.unlisten(subscription)
        hub.close()


@cli.command()
@with_appcontext
def check() -> None:
    """Emit an event, receive it, and print how long each step took."""
    hub = _events().hub
    settings = hub.settings
    click.echo(f"REDIS_EVENTS_URL {without_password(settings.url)}, prefix {settings.prefix!r}")
    started = time.monotonic()
    # A tick needs no subscription and reaches no client, so this step tests publishing alone.
    try:
        hub.broker.publish(TICKS, b":\n\n", persist=False)
    except BrokerError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"publish: {(time.monotonic() - started) * 1000:.1f} ms")
    subscription = Subscription(parse_all("flask-redis-events-check"))
    hub.listen(subscription)
    if not _is_settled(subscription, 5.0):
        raise click.ClickException(
            "Redis did not acknowledge a SUBSCRIBE within 5 s: check that its user may subscribe,"
            " and that no proxy in between blocks pub/sub."
        )
    _check_heard(subscription)
    click.echo(f"subscribe: {(time.monotonic() - started) * 1000:.1f} ms")
    sent = time.monotonic()
    try:
        _events().emit("flask-redis-events-check", "check", persist=False)
    except BrokerError as error:
        raise click.ClickException(str(error)) from error
    if not subscription.take(5.0):
        raise click.ClickException(
            "Redis accepted an event, but did not deliver it within 5 s: check that"
            " REDIS_EVENTS_URL leads to one server only."
        )
    click.echo(f"emit to here: {(time.monotonic() - sent) * 1000:.1f} ms")
    hub.unlisten(subscription)
    hub.close()
