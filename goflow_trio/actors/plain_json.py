"""Plain data of the codec as JSON and back, without loss: what JSON cannot say is an object with one `$` key.

| value | JSON |
|---|---|
| bytes | `{"$bytes": "base64"}` |
| an instant | `{"$instant": "2026-01-01T00:00:00+00:00"}` |
| not a number, infinities | `{"$float": "nan"}`, `"inf"`, `"-inf"` |
| a mapping whose keys are not all text, or one begins with `$` | `{"$pairs": [[key, value], …]}` |
"""

from __future__ import annotations

import base64
import math
from datetime import datetime
from typing import Any


def to_json(value: Any) -> Any:  # noqa: PLR0911  # one for each kind of value
    """Return plain data as what `json` can write."""
    match value:
        case float() if not math.isfinite(value):
            return {"$float": str(value)}
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case datetime():
            return {"$instant": value.isoformat()}
        case list() | tuple():
            return [to_json(item) for item in value]
        case dict() if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: to_json(item) for key, item in value.items()}
        case dict():
            return {"$pairs": [[to_json(key), to_json(item)] for key, item in value.items()]}
        case _:
            raise TypeError(f"{type(value).__name__} is not plain data")


def from_json(value: Any) -> Any:  # noqa: PLR0911  # one for each kind of value
    """Return the plain data that `to_json` made JSON of."""
    match value:
        case {"$float": str(text)}:
            return float(text)
        case {"$bytes": str(text)}:
            return base64.b64decode(text, validate=True)
        case {"$instant": str(text)}:
            return datetime.fromisoformat(text)
        case {"$pairs": list(pairs)}:
            return {from_json(key): from_json(item) for key, item in pairs}
        case list():
            return [from_json(item) for item in value]
        case dict():
            return {key: from_json(item) for key, item in value.items()}
        case _:
            return value
