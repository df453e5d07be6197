"""Checks of what a definition is given: each returns the value, or refuses it in a line that begins with what it is."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

from goflow_trio.errors import DefinitionError
from goflow_trio.jobs.names import check_name

_TOKEN_CHARS = 16

_Choice = TypeVar("_Choice", bound=str)


def check_seconds(what: str, value: object) -> float | None:
    """Return `value` if it is None or a finite number of seconds above 0.

    Raises:
        DefinitionError: it is not; `what` opens the message.
    """
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= sys.float_info.max:
        raise DefinitionError(f"{what} must be a number of seconds above 0, got {value!r}")
    return float(value)


def check_count(what: str, value: object) -> int | None:
    """Return `value` if it is None or a whole number of 1 or more.

    Raises:
        DefinitionError: it is not.
    """
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DefinitionError(f"{what} must be a whole number of 1 or more, or None, got {value!r}")
    return value


def check_choice(what: str, value: _Choice, choices: tuple[str, ...]) -> _Choice:
    """Return `value` if it is one of `choices`.

    Raises:
        DefinitionError: it is not.
    """
    if value not in choices:
        raise DefinitionError(f"{what} must be one of {', '.join(choices)}, got {value!r}")
    return value


def check_names(what: str, given: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of jobs, of which there may be one or several.

    Raises:
        DefinitionError: one of them is no name of a job.
    """
    names = [given] if isinstance(given, str) else list(given)
    return tuple(check_name(name, f"{what}: job") for name in names)


def check_token(what: str, given: Any) -> Any:
    """Return `given` if it is None, a secret, or a text that is long enough to be one.

    Raises:
        DefinitionError: it is not.
    """
    if given is None or callable(getattr(given, "reveal", None)):
        return given
    if not isinstance(given, str) or len(given) < _TOKEN_CHARS:
        raise DefinitionError(
            f"{what} must be a Secret, or a text of {_TOKEN_CHARS} characters or more that nobody guesses; "
            "make one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return given


def check_aware(what: str, value: object) -> datetime | None:
    """Return `value` if it is None or a datetime with a time zone.

    Raises:
        DefinitionError: it is not.
    """
    if value is None or (isinstance(value, datetime) and value.tzinfo is not None):
        return value
    raise DefinitionError(f"{what} must be a datetime with a time zone, got {value!r}")


def check_hooks(what: str, value: Any) -> tuple[Any, ...]:
    """Return operators or callables, of which there may be one or several.

    Raises:
        DefinitionError: one of them is neither.
    """
    hooks = tuple(value) if isinstance(value, list | tuple) else (value,)
    for hook in hooks:
        if not (callable(hook) or callable(getattr(hook, "run", None))):
            raise DefinitionError(f"{what} takes operators or callables, got {hook!r}")
    return hooks
