"""What callbacks made of messages."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from flask_redis_events.clients.outcomes import (
    KEPT,
    LARGEST,
    Outcomes,
    fingerprint_of,
    is_sent_alike,
)
from flask_redis_events.wire import Batch
from flask_redis_events.wire.data import Raw, dumps
from tests.support.factories import batch, message

# --- what was made ----------------------------------------------------------------------------


def test_an_outcome_is_found_by_its_message_and_its_key():
    """An outcome is returned for the same message and an equal key, and for nothing else."""
    outcomes, one, other, made = Outcomes(), message(1), message(1), batch(1)
    outcomes.put(one, (True, b"x"), made)

    assert outcomes.get(one, (True, b"x")) is made
    assert outcomes.get(one, (True, b"y")) is None
    assert outcomes.get(other, (True, b"x")) is None


def test_the_last_outcome_of_a_message_is_kept():
    """An outcome takes the place of what another callback made of the same message."""
    outcomes, one, first, then = Outcomes(), message(1), batch(1), batch(1)
    outcomes.put(one, "a", first)
    outcomes.put(one, "b", then)

    assert outcomes.get(one, "a") is None
    assert outcomes.get(one, "b") is then


def test_only_the_last_messages_have_outcomes():
    """The outcome of the oldest message goes when there are too many."""
    outcomes, made = Outcomes(), batch(1)
    messages = [message(number) for number in range(KEPT + 2)]
    for one in messages:
        outcomes.put(one, "a", made)
    found = [one for one in messages if outcomes.get(one, "a")]

    assert found == messages[2:]


@pytest.mark.parametrize(
    "text, size, kept",
    [
        pytest.param("x", LARGEST, True, id="the largest"),
        pytest.param("x", LARGEST + 1, False, id="too large"),
        pytest.param("x", 0, True, id="nothing was made"),
        pytest.param("x" * LARGEST, 0, False, id="of a large message"),
    ],
)
def test_a_large_outcome_is_not_kept(text, size, kept):
    """The outcomes of a worker, and their messages, take a bounded amount of memory."""
    outcomes, one, made = Outcomes(), message(1, text), Batch(control=b"x" * size)
    outcomes.put(one, "a", made)

    assert outcomes.get(one, "a") is (made if kept else None)


# --- fingerprints -----------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
#: Values that Python takes for equal, but not JSON; and values that differ a little.
SIMILAR: list[object] = [0, False, 0.0, -0.0, 1, True, 1.0, "1", "", None, [], {}, [1], [True]]
ALIKE = st.sampled_from(SIMILAR)


@given(JSON | ALIKE, JSON | ALIKE)
def test_values_have_one_fingerprint_if_they_are_the_same_json(one, other):
    """Two values have the same fingerprint exactly if they are the same text in JSON."""
    assert (fingerprint_of(one) == fingerprint_of(other)) == (dumps(one) == dumps(other))


def test_a_fingerprint_does_not_depend_on_who_else_refers_to_a_value():
    """A value has the fingerprint of its copy, though parts of it are shared or interned."""
    shared = ["a"]
    joined = "".join(["a"])
    copy = {"x": ["a"], "y": [joined]}

    assert fingerprint_of({"x": shared, "y": shared}) == fingerprint_of(copy)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(object(), id="an object"),
        pytest.param({"a": object()}, id="an object inside"),
        pytest.param(type("Data", (dict,), {})(), id="a kind of dict"),
        pytest.param(b"a", id="bytes"),
        pytest.param({"a": [{"b": bytearray(4)}]}, id="bytes inside"),
        pytest.param({b"a": 1}, id="bytes as a key"),
        pytest.param([array("i", [0])], id="an array, which has the bytes of others"),
        pytest.param({1, 2}, id="a set"),
        pytest.param(1j, id="a complex number"),
        pytest.param(type("Name", (str,), {})("a"), id="a kind of str"),
    ],
)
def test_what_is_made_of_a_value_of_unknown_type_is_not_kept(value):
    """A value that only the application can write is unlike others, whatever its fingerprint."""
    assert fingerprint_of(value) is None or not is_sent_alike(value)


@pytest.mark.parametrize("of_json", [[0], "abc", "\0\0\0\0", ["a", 1], {"a": 1}])
@pytest.mark.parametrize(
    "other", [b"abc", array("i", [0]), array("b", [0]), {0}, {"a", 1}, [b"a", 1], {b"a": 1}]
)
def test_no_other_value_has_a_fingerprint_of_json(of_json, other):
    """What was made of JSON is not taken for what an application makes of the same bytes."""
    assert is_sent_alike(of_json)
    assert fingerprint_of(other) != fingerprint_of(of_json) is not None


def test_raw_data_has_the_fingerprint_of_its_text():
    """Raw data that is sent as the same text is shared, and is no JSON string."""
    assert fingerprint_of(Raw("<b>")) == fingerprint_of(Markup("<b>")) is not None
    assert fingerprint_of(Raw("<b>")) != fingerprint_of(Raw("<i>"))
    assert fingerprint_of(Raw("<b>")) != fingerprint_of("<b>")


def test_a_value_that_is_nested_too_deeply_has_no_fingerprint():
    """A value that is nested without end has no fingerprint, and raises nothing here."""
    endless: list[object] = []
    endless.append(endless)

    assert fingerprint_of(endless) is None
    assert not is_sent_alike(endless)
