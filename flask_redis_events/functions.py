"""The application's functions: which can be called here, and what tells them apart."""

from __future__ import annotations

import inspect

from .exceptions import ConfigError


def check_function(what: str, function: object) -> None:
    """Raise `ConfigError` unless `function` is a plain callable (async is refused)."""
    if not callable(function):
        raise ConfigError(f"{what} must be a function, not {function!r}.")
    for code in _code(function):
        if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
            raise ConfigError(f"{what} cannot be async: write a plain function.")


def check_plain(what: str, function: object) -> None:
    """Raise `ConfigError` unless calling `function` does what it is to do (no generator does)."""
    check_function(what, function)
    if is_generator(function):
        raise ConfigError(f"{what} must be a plain function, not {function!r}.")


def is_generator(function: object) -> bool:
    """Say whether calling the function makes a generator."""
    return any(map(inspect.isgeneratorfunction, _code(function)))


def _code(function: object) -> tuple[object, ...]:
    """Return where the code may be: in a function, or in the class of an object that is called."""
    return (function, type(function).__call__) if callable(function) else ()


def codes_of(function: object, *, exact: bool) -> tuple[object, ...]:
    """Return the code of a function, which a view may make anew for each request.

    It includes the code that the function wraps, because a decorator gives all its functions the
    same code.  An object that has no code stands for itself; for its type, if not `exact`.
    """
    codes: list[object] = []
    while function is not None:
        code = getattr(function, "__code__", None)
        codes.append(code or (function if exact else type(function)))
        function = getattr(function, "__wrapped__", None)
    return tuple(codes)


def is_hashable(key: object) -> bool:
    """Say whether an object can be a key, with all that it contains."""
    try:
        hash(key)
    except TypeError:
        return False
    return True
