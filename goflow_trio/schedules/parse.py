"""From what a job says in `schedule=` to a `Schedule`: descriptors, `@every`, zone prefixes, cron texts.

It recognises which kind of text it has and adds the text to every refusal; what the kinds mean is decided in
`cron.py` and `interval.py`.
"""

from __future__ import annotations

import re
from typing import Final, get_args

from goflow_trio.errors import ScheduleError
from goflow_trio.schedules.base import Schedule
from goflow_trio.schedules.cron import Dst, read_cron
from goflow_trio.schedules.interval import read_every
from goflow_trio.schedules.zones import load_zone

# robfig/cron's descriptors.
_DESCRIPTORS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ZONE = re.compile(r"(?:CRON_TZ|TZ)=(\S*)\s*(.*)", re.DOTALL)

# Every second, minute and hour written out takes some 500 characters.
_LONGEST = 1000


def parse_schedule(spec: str, *, timezone: str = "UTC", dst: Dst = "once") -> Schedule:
    """Read a schedule.

    Understood are cron texts of 5 fields, or 6 with seconds first (the number of fields decides); `@hourly`, `@daily`,
    `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`; `@every` with a duration of Go; and any of these after
    `CRON_TZ=Zone` or `TZ=Zone`.

    >>> from datetime import UTC, datetime
    >>> str(parse_schedule("30 2 * * *", timezone="Europe/Berlin").next_after(datetime(2026, 3, 29, tzinfo=UTC)))
    '2026-03-29 01:00:00+00:00'

    Args:
        spec: the text.
        timezone: IANA name of the zone whose clocks it speaks of; a prefix in the text goes before it.
        dst: what happens when those clocks change: `once` runs a fixed time once in a gap and once in a fold,
            `reference` skips it and runs it twice, as Goflow does. The exact rule stands at the top of `cron.py`.

    Raises:
        ScheduleError: it is not understood or can never fire; the message names the text, the reason and the mend.
    """
    if len(spec) > _LONGEST:
        raise ScheduleError(f"schedule {spec[:40] + '…'!r}: {len(spec)} characters are too long; use AnyOf")
    try:
        return _parse(spec, timezone, dst)
    except ScheduleError as error:
        raise ScheduleError(f"schedule {spec!r}: {error}") from None


def has_seconds(spec: str) -> bool:
    """Tell whether a cron text has a field for seconds, as Goflow's `WithSeconds` allows."""
    match = _ZONE.fullmatch(spec.strip())
    text = match[2] if match else spec
    return not text.startswith("@") and len(text.split()) == 6  # noqa: PLR2004


def _parse(spec: str, timezone: str, dst: Dst) -> Schedule:
    if dst not in get_args(Dst):
        raise ScheduleError(f"dst {dst!r} is unknown; use 'once' or 'reference'")
    text = spec.strip()
    if match := _ZONE.fullmatch(text):
        timezone, text = match.groups()
    zone = load_zone(timezone)
    if not text:
        raise ScheduleError("it is empty; write a cron text such as '0 3 * * *', or leave the schedule out")
    if text.startswith("@"):
        name, _, rest = text.partition(" ")
        if name == "@every":
            return read_every(rest.strip())
        if text.lower() not in _DESCRIPTORS:
            raise ScheduleError(f"{text!r} is unknown; use {', '.join(_DESCRIPTORS)} or '@every 90s'")
        text = _DESCRIPTORS[text.lower()]
    if not text.isascii():
        odd = next(character for character in text if not character.isascii())
        raise ScheduleError(f"the character {odd!r} has no meaning in cron; type it again in plain ASCII")
    return read_cron(text, zone=zone, dst=dst)
