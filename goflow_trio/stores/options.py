"""The parts of a store's URL that are options: read once, refused in one line. It knows no particular store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NoReturn
from urllib.parse import parse_qsl

from goflow_trio.errors import UsageError
from goflow_trio.stores.urls import hide_password, split_store_url

TIMEOUT: Final = 10.0
"""How long one operation of a store on a network may take unless its URL says otherwise, in seconds."""

_BOOLEANS: Final[Mapping[str, bool]] = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def refuse(url: str, problem: str) -> NoReturn:
    """Raise the `UsageError` for a URL.

    Args:
        url: shown without its password.
        problem: the rule and the mend.
    """
    raise UsageError(f"store {hide_password(url)!r}: {problem}")


def read_options(url: str, known: Collection[str] | None) -> dict[str, str]:
    """Return what follows the question mark of a URL.

    Args:
        url: the store's URL.
        known: the options that this kind of store has; None if somebody else checks them.

    Raises:
        UsageError: one is not known, is given twice, or there is a `#` part.
    """
    parts = split_store_url(url)
    if parts.fragment:
        refuse(url, "it has a part after #, which means nothing here; write # as %23")
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in options:
            refuse(url, f"option {name!r} is given twice")
        if known is not None and name not in known:
            refuse(url, f"no option is called {name!r}; known are {', '.join(sorted(known))}")
        options[name] = value
    return options


def boolean(url: str, options: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Return an option that is true or false.

    Raises:
        UsageError: it is neither.
    """
    text = options.get(name)
    if text is None:
        return default
    value = _BOOLEANS.get(text.lower())
    if value is None:
        refuse(url, f"option {name!r} is true or false, not {text!r}")
    return value


def seconds(url: str, options: Mapping[str, str], name: str = "timeout", default: float = TIMEOUT) -> float:
    """Return an option that is a positive number of seconds.

    Raises:
        UsageError: it is not.
    """
    text = options.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        refuse(url, f"option {name!r} is a number of seconds above 0, not {text!r}")
    return value


def count(url: str, options: Mapping[str, str], name: str, default: int) -> int:
    """Return an option that is a whole number from 1 to 1,000.

    Raises:
        UsageError: it is not.
    """
    text = options.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= 1000):  # noqa: PLR2004
        refuse(url, f"option {name!r} is a whole number from 1 to 1000, not {text!r}")
    return int(text)
