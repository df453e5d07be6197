"""The fields of a cron text: which numbers each one names, or why it is refused.

Plain items (`*`, `5`, `mon`, `9-17`, `*/15`, `10/5`) are read here, because croniter and robfig/cron disagree on
some of them and a silent disagreement would run a job at the wrong time. The day words `L`, `15W`, `L5` and `5#3`
are only recognised here; croniter gives them their meaning. Nothing here knows about time zones or dates.

Readings, where programs differ:

- `a-a` is `a` (croniter reads the whole field).
- `a/n` is `a-<last>/n`, as robfig/cron has it.
- `22-2` is refused, as robfig/cron and cron(8) do. A weekday range may end on Sunday: `fri-sun` is `5-7`.
- A step beyond the size of its field (`*/90` in minutes) is refused: it would mean the first value only.
- `*/1` is `*`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from goflow_trio.errors import ScheduleError

_PLAIN = re.compile(
    r"(?:(?P<star>[*?])|(?P<low>\d{1,9}|[a-z]{3,9})(?:-(?P<high>\d{1,9}|[a-z]{3,9}))?)(?:/(?P<step>\d{1,9}))?"
)


@frozen
class Field:
    """One of the six places of a cron text.

    Args:
        name: for error messages.
        low: its smallest number.
        high: its largest number.
        names: words for numbers, in lower case.
        alias: a number above `high` that means `low` (7 is Sunday, too).
        special: the items that croniter understands and this file does not.
    """

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(factory=dict)
    alias: int | None = None
    special: re.Pattern[str] | None = None


@frozen
class Values:
    """What a field says.

    Args:
        every: it is `*` or `?`, or has such an item: no restriction at all.
        wildcard: a `*` or `?` occurs in it, or every number of the field: it names no particular time.
        numbers: the numbers it names, ascending; all of them where `every`.
        special: day words for croniter, in lower case.
    """

    every: bool
    wildcard: bool
    numbers: tuple[int, ...]
    special: tuple[str, ...]

    def __str__(self) -> str:
        return "*" if self.every else ",".join([*map(str, self.numbers), *self.special])


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

SECOND: Final = Field("second", 0, 59)
MINUTE: Final = Field("minute", 0, 59)
HOUR: Final = Field("hour", 0, 23)
DAY: Final = Field("day-of-month", 1, 31, special=re.compile(r"l|\d{1,2}w|w\d{1,2}"))
MONTH: Final = Field("month", 1, 12, names={word: number for number, word in enumerate(_MONTHS, 1)})
WEEKDAY: Final = Field(
    "day-of-week",
    0,
    6,
    names={word: number for number, word in enumerate(_WEEKDAYS)},
    alias=7,
    special=re.compile(r"l[0-7]|(?:[0-7]|[a-z]{3})(?:-(?:[0-7]|[a-z]{3}))?#\d"),
)


def read_field(place: Field, text: str) -> Values:
    """Read one field.

    Args:
        place: which field it is.
        text: as the user wrote it, without spaces.

    Raises:
        ScheduleError: it is not understood; the message names the field, the reason and the mend, but not the
            whole cron text.
    """
    numbers: set[int] = set()
    special = []
    every = wildcard = False
    for item in text.lower().split(","):
        if place.special and place.special.fullmatch(item):
            special.append(item)
            continue
        match = _PLAIN.fullmatch(item)
        if match is None:
            raise _refused(place, text, _unread(place, item))
        found = _numbers(place, text, match)
        numbers.update(found)
        wildcard = wildcard or match["star"] is not None
        every = every or (match["star"] is not None and match["step"] in {None, "1"})
    if len(numbers) == place.high - place.low + 1:
        wildcard = True
    return Values(every, wildcard, tuple(sorted(numbers)), tuple(special))


def _numbers(place: Field, text: str, match: re.Match[str]) -> list[int]:
    low, high = place.low, place.high
    if match["low"] is not None:
        low = _number(place, text, match["low"])
        if match["high"] is not None:
            high = _number(place, text, match["high"])
            if place.alias is not None and high == place.low < low:
                high = place.alias
        elif match["step"] is None:
            high = low
    if low == place.alias and high != place.alias:
        low = place.low
    if low > high:
        raise _refused(
            place,
            text,
            f"the range {match['low']}-{match['high']} runs backwards; write it as two:"
            f" {match['low']}-{place.high},{place.low}-{match['high']}",
        )
    step = int(match["step"] or 1)
    size = place.high - place.low + 1
    if step == 0:
        raise _refused(place, text, "a step of 0 never gets anywhere; use 1 or more")
    if step > size:
        raise _refused(
            place,
            text,
            f"the step {step} is larger than the field, which has {size} values;"
            " for a longer interval use @every, such as '@every 90m'",
        )
    return [number if number <= place.high else place.low for number in range(low, high + 1, step)]


def _number(place: Field, text: str, word: str) -> int:
    if word in place.names:
        return place.names[word]
    if not word.isdigit():
        words = f" or {', '.join(place.names)}" if place.names else ""
        raise _refused(place, text, f"{word!r} is no {place.name}; use a number{words}")
    number = int(word)
    top = place.alias if place.alias is not None else place.high
    if not place.low <= number <= top:
        raise _refused(place, text, f"{word} is out of range; use {place.low} to {top}")
    return number


def _unread(place: Field, item: str) -> str:
    if not item:
        return "an item of the list is empty; remove the comma"
    if item[0] in "hr" and (len(item) == 1 or not item[1].isalpha()):
        return f"{item!r} would pick a time by chance; give a time, and use the job's jitter to spread the load"
    if item.startswith("-"):
        return f"{item!r} is negative; use {place.low} to {place.high}"
    return f"{item!r} is not understood; use a number, a range 1-5, a step */2, a list 1,3 or *"


def _refused(place: Field, text: str, reason: str) -> ScheduleError:
    return ScheduleError(f"{place.name} field {text!r}: {reason}")
