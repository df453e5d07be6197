"""Reads requests strictly: what does not fit its declared type is refused by name, and no reading can be ambiguous.

JSON is read twice: once by msgspec into the type, once for what msgspec lets pass, a key that comes twice and nesting
without end. Bodies are small (`limits.BODY_BYTES`), so that costs little.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType
from typing import Any, Protocol, get_args

import msgspec

from goflow_trio.core import limits
from goflow_trio.errors import UsageError

_STRINGS = re.compile(rb'"(?:[^"\\]+|\\.?)*+"?', re.DOTALL)  # matches an unclosed one too: linear, whatever comes
_DATE = re.compile(r"\d{4}-")
_BRACKETS = re.compile(rb"[\[\]{}]")
_LAX_KINDS = {"", "application/json"}
_WHITE_SPACE = b" \t\r\n"


class UnsupportedBody(UsageError):
    """The body is of a kind that the route does not read."""


@cache
def _instants(kind: Any) -> frozenset[str]:
    """Return the names of the fields that are instants."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind) if "datetime" in str(field.type))


class _Strings(Protocol):
    """A query string or headers: the first value of a name counts."""

    def get(self, key: str) -> str | None: ...


def read_strings(given: _Strings, kind: Any, what: str) -> Any:
    """Return a Struct read from strings; names it does not have are ignored, as Goflow does.

    Args:
        given: the query string, or the headers.
        kind: the Struct.
        what: names one of them in an error.

    Raises:
        UsageError: a value does not fit.
    """
    names = (field.encode_name for field in msgspec.structs.fields(kind))
    values = {name: value for name in names if (value := given.get(name)) is not None}
    for name in _instants(kind) & values.keys():
        # msgspec would take a number for seconds since 1970; and a plus sign in a query means a space.
        values[name] = values[name].replace(" ", "+")
        if not _DATE.match(values[name]):
            raise UsageError(f"{what} {name}: write an instant as 2026-01-01T00:00:00Z; got {values[name][:100]!r}")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        message = message.removesuffix(", got `str`").replace(" | null`", "`")  # as all that comes in a URL is a text
        if not path:  # a field is missing: the message names it
            raise UsageError(f"{what}: {message}") from None
        name = path.strip("`$.").removeprefix("[").strip("'\"]")
        shown = str(values.get(name))[:100]
        raise UsageError(f"{what} {name}: {message[:1].lower()}{message[1:]}; got {shown!r}") from None


def read_body(data: str | bytes, kind: Any, content_type: str | None) -> Any:
    """Return a JSON body as a type.

    Args:
        data: the bytes.
        kind: the type; one that has None allows an empty body.
        content_type: what the request says it is; None if that is not to be asked.

    Raises:
        UnsupportedBody: it says that it is something other than JSON.
        UsageError: it is no JSON, ambiguous, too deep, or does not fit.
    """
    raw = data.encode() if isinstance(data, str) else data
    if not raw.strip(_WHITE_SPACE) and NoneType in get_args(kind):
        return None
    if content_type is not None and content_type not in _LAX_KINDS:
        raise UnsupportedBody(f"the body is {content_type}; send JSON, with Content-Type: application/json")
    try:
        _check_json(raw)
        return msgspec.json.decode(raw, type=kind)
    except json.JSONDecodeError as error:
        raise UsageError(f"the body cannot be used, it is not JSON: {error}") from None
    except (ValueError, RecursionError) as error:  # msgspec's and json's errors are ValueErrors, ours too
        raise UsageError(f"the body cannot be used: {error}") from None


def _check_json(raw: bytes) -> None:
    depth = 0
    for bracket in _BRACKETS.finditer(_STRINGS.sub(b"", raw)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > limits.JSON_DEPTH:
            raise UsageError(f"it is nested deeper than {limits.JSON_DEPTH} levels")
    json.loads(raw, object_pairs_hook=_without_doubles, parse_constant=_no_constant)


def _without_doubles(pairs: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise UsageError(f"the key {name[:100]!r} comes twice in one object")
        found[name] = value
    return found


def _no_constant(text: str) -> None:
    raise UsageError(f"{text} is no JSON")
