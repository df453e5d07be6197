"""A second opinion on cron schedules, by brute force: it walks every minute and shares no code with the package.

It has a field matcher of its own, and states the rule for clock changes another way than `cron.py` does, without
offsets, gaps or folds. Local clocks are read minute by minute, and a high-water mark of what they have shown is kept:

- `once`, fixed text: a minute is due if a matching local minute lies above the mark and not above the clock. So a
  jump forward is due for what it jumped over, and a clock put back shows nothing new until it passes the mark.
- every other case: a minute is due if what the clock shows matches.

`python -m tests.schedules.oracle --all` compares all zones of 2020 to 2040; `--help` names the arguments.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from goflow_trio.schedules import Dst, parse_schedule

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)

# A change lies in the middle day: a fixed time of the day before, of the day itself and of the day after are seen.
BEFORE = timedelta(hours=26)
AFTER = timedelta(hours=50)

PATTERNS = (
    "30 2 * * *",
    "0 0 * * *",
    "0 1 * * *",
    "0 2 * * *",
    "0 3 * * *",
    "30 0 * * *",
    "30 1 * * *",
    "59 1 * * *",
    "59 23 * * *",
    "0,30 2 * * *",
    "0,15,30,45 1-3 * * *",
    "10 1,2 * * *",
    "0 0-6 * * *",
    "5 0-23 * * *",
    "0-59 2 * * *",
    "15,45 23,0 * * *",
    "20 */2 * * *",
    "0 * * * *",
    "*/30 1-3 * * *",
    "*/15 0,23 * * *",
    "15 */2 * * *",
    "0/20 2 * * *",
    "7 2/3 * * *",
    "30 2 * * 0",
    "0 0 * * 0",
    "0 0 * * 1",
    "15 0 1,8,15,22,29 * *",
    "30 2 25-31 3,10 *",
    "0 2 * 3,4,9,10,11 0,6",
    "30 1 1-7 * 0",
    "45 2 */2 * *",
    "*/5 0-4 * * *",
)

# Those that the ordinary test run covers: big and odd changes of every kind.
ZONES = (
    "Africa/Casablanca",
    "Africa/Cairo",
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Scoresbysund",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Chatham",
)


def numbers(text: str, low: int, high: int) -> set[int]:
    """The numbers of one field: lists of `*`, `a`, `a-b`, each with a step."""
    found: set[int] = set()
    for item in text.split(","):
        body, _, step = item.partition("/")
        if body == "*":
            first, last = low, high
        elif "-" in body:
            first, last = (int(end) for end in body.split("-"))
        else:
            first, last = int(body), high if step else int(body)
        found |= {number for number in range(first, last + 1) if (number - first) % int(step or 1) == 0}
    return found


def fixed(spec: str) -> bool:
    minute, hour, *_ = spec.split()
    return (
        "*" not in minute + hour and numbers(minute, 0, 59) != set(range(60)) and numbers(hour, 0, 23) != set(range(24))
    )


@cache
def matcher(spec: str) -> tuple[list[int], Callable[[date], bool]]:
    """The minutes of a day, and a test of dates."""
    minute_text, hour_text, day, month, weekday = spec.split()
    minutes, hours = numbers(minute_text, 0, 59), numbers(hour_text, 0, 23)
    days, months, weekdays = numbers(day, 1, 31), numbers(month, 1, 12), numbers(weekday, 0, 6)

    @cache
    def on(this: date) -> bool:
        in_month, in_week = this.day in days, this.isoweekday() % 7 in weekdays
        either = in_month or in_week if day != "*" and weekday != "*" else in_month and in_week
        return this.month in months and either

    return [hour * 60 + minute for hour in hours for minute in minutes], on


Walls = tuple[tuple[date, int], ...]


def walls(zone: ZoneInfo, start: datetime, end: datetime) -> Walls:
    """What the clocks of a zone show, as date and minute of the day, at each minute from start to end."""
    shown = []
    while start < end:
        local = start.astimezone(zone)
        shown.append((local.date(), local.hour * 60 + local.minute))
        start += MINUTE
    return tuple(shown)


class Course:
    """What the clocks showed in a window, by the minute of the day, and what of it was new when it was shown."""

    def __init__(self, shown: Walls) -> None:
        self.shown: defaultdict[int, list[tuple[int, date]]] = defaultdict(list)
        self.new: defaultdict[int, list[tuple[int, date]]] = defaultdict(list)
        mark = shown[0]
        for place, clock in enumerate(shown[1:], 1):
            self.shown[clock[1]].append((place, clock[0]))
            # Nearly always the one minute that passed; after a jump, all that it jumped over; none in a second pass.
            while mark < clock:
                mark = after(mark)
                self.new[mark[1]].append((place, mark[0]))


def expected(spec: str, dst: Dst, course: Course) -> list[int]:
    """The due minutes, as places in what was shown; the first of them only sets the mark."""
    minutes, on = matcher(spec)
    seen = course.new if dst == "once" and fixed(spec) else course.shown
    return sorted({place for minute in minutes for place, day in seen[minute] if on(day)})


def after(clock: tuple[date, int]) -> tuple[date, int]:
    day, minute = clock
    return (day, minute + 1) if minute < 24 * 60 - 1 else (day + DAY, 0)


def windows(zone: ZoneInfo, years: Iterable[int]) -> Iterator[datetime]:
    """The UTC days in which the offset changes; one ordinary day for a zone that has none."""
    found = False
    for year in years:
        day, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
        while day < end:
            if day.astimezone(zone).utcoffset() != (day + DAY).astimezone(zone).utcoffset():
                found = True
                yield day
            day += DAY
    if not found:
        yield datetime(2026, 3, 29, tzinfo=UTC)


def actual(spec: str, dst: Dst, zone: str, start: datetime, end: datetime) -> list[datetime]:
    schedule = parse_schedule(spec, timezone=zone, dst=dst)
    due, found = schedule.next_after(start), []
    while due is not None and due < end:
        found.append(due)
        due = schedule.next_after(due)
    return found


def compare(zones: Iterable[str], years: Sequence[int], patterns: Sequence[str] = PATTERNS) -> tuple[int, list[str]]:
    """Compare both modes; give the number of comparisons and a line for each difference.

    Many zones share their changes: what is expected is worked out once for each course of local clocks, and every
    zone of the group is asked.
    """
    differences = []
    count = 0
    groups: defaultdict[datetime, list[str]] = defaultdict(list)
    for name in zones:
        for day in windows(ZoneInfo(name), years):
            groups[day].append(name)
    for day, names in sorted(groups.items()):
        start, end = day - BEFORE, day + AFTER
        known: dict[Walls, dict[tuple[str, Dst], list[datetime]]] = {}
        for name in names:
            shown = walls(ZoneInfo(name), start, end)
            if shown not in known:
                course = Course(shown)
                known[shown] = {
                    (spec, dst): [start + place * MINUTE for place in expected(spec, dst, course)]
                    for spec in patterns
                    for dst in ("once", "reference")
                }
            for (spec, dst), wanted in known[shown].items():
                count += 1
                got = actual(spec, dst, name, start, end)
                if got != wanted:
                    odd = sorted(set(got) ^ set(wanted))[:3]
                    sides = ", ".join(f"{instant:%F %R} {'extra' if instant in got else 'missing'}" for instant in odd)
                    differences.append(f"{name} {day:%F} {spec!r} {dst}: {sides or 'order'}")
    return count, differences


def job(work: tuple[list[str], list[int], list[str]]) -> tuple[int, list[str]]:
    return compare(*work)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.schedules.oracle", description=__doc__.split("\n")[0])
    parser.add_argument("--all", action="store_true", help="every zone zoneinfo knows, 2020 to 2040")
    parser.add_argument("--zone", action="append", help="a zone; may be repeated (default: the ordinary test's)")
    parser.add_argument("--years", nargs=2, type=int, metavar=("FIRST", "LAST"))
    parser.add_argument("--pattern", action="append", help="a cron text of numbers (default: the built-in ones)")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    zones = arguments.zone or (sorted(available_timezones() - {"localtime"}) if arguments.all else list(ZONES))
    first, last = arguments.years or ((2020, 2040) if arguments.all else (2020, 2030))
    patterns = arguments.pattern or list(PATTERNS)
    began = time.monotonic()
    count = 0
    differences: list[str] = []
    # One year a piece: a group of zones with the same clocks stays together.
    pieces = [(list(zones), [year], patterns) for year in range(first, last + 1)]
    with ProcessPoolExecutor(arguments.processes) as pool:
        for piece, (some, found) in zip(pieces, pool.map(job, pieces), strict=True):
            count += some
            differences += found
            print(f"{piece[1][0]}: {some:,} comparisons, {len(found)} differences", flush=True)
    print(
        *differences[:50],
        f"{len(zones)} zones, {first} to {last}, {len(patterns)} patterns, 2 modes: {count:,} comparisons,"
        f" {len(differences)} differences, {time.monotonic() - began:.0f} s",
        sep="\n",
    )
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
