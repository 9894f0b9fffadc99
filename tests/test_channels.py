"""Channel names, patterns and templates."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_redis_events import ChannelError, ConfigError
from flask_redis_events.channels import Channel, Template, check_name, escape, matches, parse_all


@pytest.mark.parametrize(
    "text, channel",
    [
        pytest.param("orders", Channel("orders"), id="name"),
        pytest.param("redis:orders", Channel("orders"), id="the seed's spelling"),
        pytest.param("orders:*", Channel("orders:*", True), id="star"),
        pytest.param("orders:?", Channel("orders:?", True), id="question mark"),
        pytest.param("orders:[ab]", Channel("orders:[ab]", True), id="class"),
        pytest.param(r"orders:\*", Channel("orders:*"), id="quoted star"),
        pytest.param(r"a\b", Channel(r"a\b"), id="a backslash that quotes nothing"),
        pytest.param("Bestellungen:ä", Channel("Bestellungen:ä"), id="not ASCII"),
    ],
)
def test_a_channel_is_read_as_it_is_written(text, channel):
    """A glob character makes a pattern; the prefix `redis:` is no part of the name."""
    assert Channel.parse(text) == channel


@pytest.mark.parametrize(
    "name",
    ["", "redis:", "a\nb", "a\rb", "a\0b", "$ticks", "\ud800", None, 7, b"orders"],
    ids=repr,
)
def test_a_bad_name_is_refused(name):
    """The error shows the name."""
    with pytest.raises(ChannelError) as caught:
        check_name(name)

    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("channels", [[], None, 7, {"a": 1}, b"x", ["a", 7]], ids=repr)
def test_bad_channels_are_refused(channels):
    """Channels are a str or a list of them, and at least one."""
    with pytest.raises(ChannelError):
        parse_all(channels)


def test_repeated_channels_count_once():
    """The order in which they were named is kept."""
    assert parse_all(["b", "a", "redis:b"]) == (Channel("b"), Channel("a"))


@pytest.mark.parametrize(
    "text, values, channel",
    [
        pytest.param("a", {}, Channel("a"), id="static"),
        pytest.param("user:{id}:n", {"id": 7}, Channel("user:7:n"), id="filled"),
        pytest.param("{id}", {"id": "*"}, Channel("*"), id="a value is no pattern"),
        pytest.param("{id}:*", {"id": "a*"}, Channel(r"a\*:*", True), id="value in a pattern"),
        pytest.param("{{id}}", {}, Channel("{id}"), id="braces"),
        pytest.param("redis:u:{id}", {"id": 1}, Channel("u:1"), id="the seed's spelling"),
    ],
)
def test_a_template_is_filled(text, values, channel):
    """Values come from the URL, and never decide what kind of channel it is."""
    assert Template(text).fill(values) == channel


@pytest.mark.parametrize(
    "text", ["{", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "", "$x"], ids=repr
)
def test_a_bad_template_is_refused_at_once(text):
    """It fails where the view is decorated, not when a browser comes."""
    with pytest.raises(ChannelError):
        Template(text)


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\rb"], ids=repr)
def test_a_hostile_value_is_refused(value):
    """A line end in a URL's value cannot reach Redis or a frame."""
    with pytest.raises(ChannelError):
        Template("user:{id}").fill({"id": value})


def test_a_missing_value_is_named():
    """The error says what the template needs, and what the URL has."""
    with pytest.raises(ConfigError, match=r"needs user_id; the URL has id"):
        Template("u:{user_id}").fill({"id": 1})


@given(st.text(alphabet="ab*?[]\\^-", min_size=1))
def test_an_escaped_value_is_an_exact_name(value):
    """User input in a name hears that channel alone."""
    assert Channel.parse("user:" + escape(value)) == Channel("user:" + value)


@given(st.text())
def test_an_escaped_value_matches_itself_alone(value):
    """`escape` makes any value safe inside a pattern."""
    assert matches(escape(value), value)
    assert not matches(escape(value), value + "x")


PIECES = st.sampled_from(["a", "b", "c", "*", "?", "[", "]", "^", "-", "\\", "[a-c]", "[^a]"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_patterns_match_as_redis_has_it(redis_server, prefix, data):
    """Redis itself says which names match; we agree."""
    pattern = data.draw(st.lists(PIECES, max_size=8).map("".join))
    names = data.draw(st.lists(st.text("abc-]^ä[*", min_size=1, max_size=6), min_size=1))
    client = redis_server.client()
    client.delete(prefix + "names")
    client.sadd(prefix + "names", *names)
    found = {name.decode() for name in client.sscan_iter(prefix + "names", match=pattern or "\\")}

    assert {name for name in names if matches(pattern or "\\", name)} == found
