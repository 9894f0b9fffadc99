"""Channel names, patterns and templates."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_redis_events import ChannelError, ConfigError
from flask_redis_events.channels import Channel, Template, check_name, escape, matches, parse_all


@pytest.mark.parametrize(
    "text, channel",
    [
        pytest.param("orders", Channel("orders"), id="name"),
        pytest.param("orders:*", Channel("orders:*", True), id="star"),
        pytest.param("orders:?", Channel("orders:?", True), id="question mark"),
        pytest.param("orders:[ab]", Channel("orders:[ab]", True), id="class"),
        pytest.param(r"orders:\*", Channel("orders:*"), id="quoted star"),
        pytest.param(r"a\b", Channel(r"a\b"), id="a backslash that quotes nothing"),
        pytest.param("Bestellungen:ä", Channel("Bestellungen:ä"), id="not ASCII"),
    ],
)
def test_a_channel_is_read_as_it_is_written(text, channel):
    """A glob character makes a pattern."""
    assert Channel.parse(text) == channel


def test_a_long_name_is_refused():
    """A name comes from a URL and is kept in memory, so that its length is bounded."""
    assert check_name("x" * 1024)
    with pytest.raises(ChannelError, match=r"has 1024 bytes at most; 'ä{40}'… has 1026"):
        check_name("ä" * 513)


@pytest.mark.parametrize(
    "name",
    ["", "redis:", "redis:orders", "a\nb", "a\rb", "a\0b", "$ticks", "\ud800", None, 7, b"orders"],
    ids=repr,
)
def test_a_bad_name_is_refused(name):
    """The error shows the name."""
    with pytest.raises(ChannelError) as caught:
        check_name(name)

    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("channels", [[], None, 7, {"a": 1}, b"x", ["a", 7]], ids=repr)
def test_bad_channels_are_refused(channels):
    """Channels are given as a str or as a list of at least one str."""
    with pytest.raises(ChannelError):
        parse_all(channels)


def test_repeated_channels_count_once():
    """Repetitions are dropped, and the order of the others is kept."""
    assert parse_all(["b", "a", "b"]) == (Channel("b"), Channel("a"))


@pytest.mark.parametrize(
    "text, values, channel",
    [
        pytest.param("a", {}, Channel("a"), id="static"),
        pytest.param("user:{id}:n", {"id": 7}, Channel("user:7:n"), id="filled"),
        pytest.param("{id}", {"id": "*"}, Channel("*"), id="a value is no pattern"),
        pytest.param("{id}:*", {"id": "a*"}, Channel(r"a\*:*", True), id="value in a pattern"),
        pytest.param("{{id}}", {}, Channel("{id}"), id="braces"),
        pytest.param(r"a\*:{id}", {"id": r"\*"}, Channel(r"a*:\*"), id="a quoted star"),
        pytest.param("redis:u:{id}", {"id": 1}, Channel("u:1"), id="the seed's spelling"),
        pytest.param("redis:orders", {}, Channel("orders"), id="the seed's spelling, static"),
        pytest.param("u:{id}", {"id": "redis:7"}, Channel("u:redis:7"), id="redis: further on"),
    ],
)
def test_a_template_is_filled(text, values, channel):
    """The URL's values are filled in, and never turn an exact channel into a pattern."""
    assert Template(text).fill(values) == channel


@pytest.mark.parametrize(
    "text",
    [
        *("{", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "", "$x", "redis:", "redis:$x"),
        *("redis:redis:x", "x:[{a}]", "x:[^a-{a}", "x:[]{a}]]{a}[b{a}]", "x:\\{a}", "x:\\{a}*"),
    ],
    ids=repr,
)
def test_a_bad_template_is_refused_at_once(text):
    """A bad template fails when the view is decorated, and not in the first request."""
    with pytest.raises(ChannelError):
        Template(text)


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\rb"], ids=repr)
def test_a_hostile_value_is_refused(value):
    """A line end in a URL's value is refused before it reaches Redis or a frame."""
    with pytest.raises(ChannelError):
        Template("user:{id}").fill({"id": value})


@pytest.mark.parametrize("values", [("redis", "audit"), ("redis:", "audit"), ("$", "ticks")])
def test_a_value_does_not_choose_another_channel(values):
    """A value that makes a reserved beginning is refused, and never cut off."""
    with pytest.raises(ChannelError):
        Template("{kind}:{x}").fill(dict(zip(("kind", "x"), values, strict=True)))


LITERALS = [":", "a", "redis:", "{{", "}}", "$", r"\*", r"\\"]
GLOBS = {"*": ".*", "?": ".", "[ab]": "[ab]", r"[^\]a]": r"[^\]a]"}
FIELDS = ["{one}", "{two}"]
VALUES = st.sampled_from(["redis:", "redis", "$", "a", "*"]) | st.text("ab*?[]\\^-:") | st.text()


@settings(max_examples=500)
@given(
    st.lists(st.sampled_from([*FIELDS, *LITERALS, *GLOBS]), max_size=5), VALUES, VALUES, st.data()
)
def test_no_value_leaves_the_shape_of_its_template(pieces, one, two, data):
    """A filled template hears exactly the names that have the values in the fields' places."""
    values = {"{one}": one, "{two}": two}
    texts = {**{piece: piece for piece in LITERALS}, "{{": "{", "}}": "}", r"\*": "*", r"\\": "\\"}
    shape = [values[piece] if piece in values else texts.get(piece) for piece in pieces]
    if pieces[:1] == ["redis:"]:
        shape[0] = ""
    try:
        channel = Template("".join(pieces)).fill({"one": one, "two": two})
    except ChannelError:
        # A literal's fault, or a value's that cannot be in a name.
        return
    regex = "".join(
        GLOBS[piece] if text is None else re.escape(text)
        for piece, text in zip(pieces, shape, strict=True)
    )
    like_it = "".join("b" if text is None else text for text in shape)
    others = "".join(
        "b" if text is None or piece in values else text
        for piece, text in zip(pieces, shape, strict=True)
    )
    name = data.draw(st.sampled_from([like_it, others, like_it + "a", one]) | st.text())
    heard = matches(channel.name, name) if channel.pattern else channel.name == name

    assert channel.pattern == any(piece in GLOBS for piece in pieces)
    like = bool(re.fullmatch(regex.encode(), name.encode(errors="replace"), re.DOTALL))
    # Only a pattern that names it so hears a reserved name.
    reserved = channel.pattern and name.startswith("$") and not channel.name.startswith("$")
    assert heard == (like and not reserved)


def test_a_missing_value_is_named():
    """The error names the values that the template needs, and those that the URL has."""
    with pytest.raises(ConfigError, match=r"needs user_id; the URL has id"):
        Template("u:{user_id}").fill({"id": 1})


@given(st.text(alphabet="ab*?[]\\^-", min_size=1))
def test_an_escaped_value_is_an_exact_name(value):
    """Escaped user input makes an exact channel of exactly that name."""
    assert Channel.parse("user:" + escape(value)) == Channel("user:" + value)


@given(st.text())
def test_an_escaped_value_matches_itself_alone(value):
    """An escaped value inside a pattern matches only itself."""
    assert matches(escape(value), value)
    assert not matches(escape(value), value + "x")


PIECES = st.sampled_from(["a", "b", "c", "*", "?", "[", "]", "^", "-", "\\", "[a-c]", "[^a]"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_patterns_match_as_redis_has_it(redis_server, prefix, data):
    """`matches` agrees with Redis for random patterns and names."""
    pattern = data.draw(st.lists(PIECES, max_size=8).map("".join))
    names = data.draw(st.lists(st.text("abc-]^ä[*", min_size=1, max_size=6), min_size=1))
    client = redis_server.client()
    client.delete(prefix + "names")
    client.sadd(prefix + "names", *names)
    found = {name.decode() for name in client.sscan_iter(prefix + "names", match=pattern or "\\")}

    assert {name for name in names if matches(pattern or "\\", name)} == found
