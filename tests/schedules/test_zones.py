"""The changes found by asking zoneinfo are those that the time zone files list."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

import pytest

from goflow_trio.schedules.zones import _changes
from tests.schedules.oracle import ZONES


def listed(zone: str) -> list[datetime]:
    """Where the offset changes from 1970 to 2036, by the second block of a zone's TZif file (RFC 8536)."""
    # The system's file goes before the package's, as in zoneinfo; the two may be of different years.
    paths = (Path(folder, zone) for folder in TZPATH)
    file = next((path for path in paths if path.is_file()), files("tzdata").joinpath("zoneinfo", *zone.split("/")))
    data = file.read_bytes()
    utc, std, leap, times, types, letters = struct.unpack(">6l", data[20:44])
    at = 44 + times * 5 + types * 6 + letters + leap * 8 + std + utc
    utc, std, leap, times, types, letters = struct.unpack(">6l", data[at + 20 : at + 44])
    at += 44
    moments = struct.unpack(f">{times}q", data[at : at + times * 8])
    kinds = data[at + times * 8 : at + times * 9]
    at += times * 9
    offsets = [struct.unpack(">lbb", data[at + 6 * kind : at + 6 * kind + 6])[0] for kind in range(types)]
    found = []
    offset = offsets[0]
    for moment, kind in zip(moments, kinds, strict=True):
        if offsets[kind] != offset and moment > 0:
            found.append(datetime.fromtimestamp(moment, UTC))
        offset = offsets[kind]
    return [change for change in found if change.year < 2037]


@pytest.mark.parametrize("zone", [*ZONES, "America/Sao_Paulo", "Africa/Monrovia", "Asia/Pyongyang", "UTC"])
def test_changes_are_the_listed_ones(zone: str) -> None:
    wanted = listed(zone)
    found = [change for year in range(1970, 2037) for change in _changes(ZoneInfo(zone), year)]
    # Files may end early and leave the rest to a rule; what they list has to be found.
    until = wanted[-1] if wanted else datetime(1970, 1, 1, tzinfo=UTC)
    assert [change for change in found if change <= until] == wanted
