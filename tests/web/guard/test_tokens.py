"""The token file: what a line may say, and that a change of it counts at once."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from goflow_trio import Security, UsageError
from goflow_trio.core import limits
from goflow_trio.web.guard.backoff import Backoff
from goflow_trio.web.guard.callers import Callers
from goflow_trio.web.guard.rules import Refused
from goflow_trio.web.guard.tokens import TokenFile, parse

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LONG = "a-token-long-enough-to-be-one"


def test_a_line_names_role_token_name_and_expiry():
    hashed = sha256(LONG.encode()).hexdigest()
    tokens, mistakes = parse(f"# comment\n\nread sha256:{hashed} grafana 2027-01-31\n  {LONG}2\noperate {LONG}3\n")
    assert not mistakes
    assert [(token.role, token.name, token.expires) for token in tokens] == [
        ("read", "grafana", datetime(2027, 1, 31, tzinfo=UTC)),
        ("operate", "line-4", None),
        ("operate", "line-5", None),
    ]
    assert tokens[0].digest.hex() == hashed


@pytest.mark.parametrize(
    "line",
    [
        f"admin {LONG} x",
        f"read {LONG} x soon",
        "read sha256:12 x",
        f"read {LONG} x 2027-01-31 y",
        "read operate",
        f"read {LONG} a\nread {LONG} b",
    ],
)
def test_a_wrong_line_is_named_and_no_token_quoted(line, tmp_path):
    _, (mistake,) = parse(line)
    assert mistake.startswith("line ")
    assert LONG not in mistake
    file = tmp_path / "tokens"
    file.write_text(line)
    with pytest.raises(UsageError, match="line ") as refused:
        TokenFile(file, lambda: NOW, lambda: 0.0)
    assert LONG not in str(refused.value)


def test_a_missing_file_is_an_error_at_the_start(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        TokenFile(tmp_path / "none", lambda: NOW, lambda: 0.0)


class World:
    """Callers on a clock that only moves when told."""

    def __init__(self, file):
        self.now, self.seconds, self.file = NOW, 0.0, file
        self.callers = Callers(Security(token_file=file), lambda: self.now, lambda: self.seconds)

    def write(self, text):
        self.file.write_text(text)
        self.seconds += 2

    def status(self, token, address="1.2.3.4"):
        try:
            self.callers.identify({}, {"authorization": f"Bearer {token}"}, address)
        except Refused as refused:
            return int(refused.status)
        return 200


@pytest.fixture
def world(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"operate {LONG} one 2026-07-01\n")
    file.chmod(0o600)
    return World(file)


def test_rotation_needs_no_restart(world):
    assert (world.status(LONG), world.status("new-" + LONG)) == (200, 401)
    world.write(f"operate {LONG} one\nread new-{LONG} two\n")
    assert (world.status(LONG), world.status("new-" + LONG)) == (200, 200)
    world.write(f"read new-{LONG} two\n")
    assert (world.status(LONG), world.status("new-" + LONG)) == (401, 200)


def test_a_token_expires_on_the_instant(world):
    world.now = datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC)
    assert world.status(LONG) == 200
    world.now = datetime(2026, 7, 1, tzinfo=UTC)
    assert world.status(LONG) == 401


def test_a_file_that_turns_bad_loses_its_bad_lines_only(world, caplog):
    world.write(f"operate {LONG} one\nread {LONG}-oops two never\n")
    assert world.status(LONG) == 200
    assert world.status(LONG + "-oops") == 401
    assert "left out line 2" in caplog.text
    assert LONG not in caplog.text
    world.file.unlink()
    world.seconds += 2
    assert world.status(LONG) == 401
    world.write(f"operate {LONG} one\n")
    assert world.status(LONG) == 200


def test_a_session_ends_with_its_token_and_with_its_time(world):
    cookie, _ = world.callers.sign_in(LONG, "1.2.3.4")
    headers = {"cookie": f"a=b; goflow_session={cookie}"}
    caller = world.callers.identify({}, headers, "")
    assert caller.name == "one"
    assert world.callers.is_valid(caller, {})
    world.write("")
    assert not world.callers.is_valid(caller, {})
    world.write(f"operate {LONG} one 2026-07-01\n")
    assert world.callers.is_valid(caller, {})
    world.now = datetime(2026, 6, 1, 12, 0, 1, tzinfo=UTC)
    assert not world.callers.is_valid(caller, {})


def test_sessions_are_bounded(world, monkeypatch):
    monkeypatch.setattr(limits, "SESSIONS", 2)
    cookies = [world.callers.sign_in(LONG, "")[0] for _ in range(3)]
    found = [world.callers._sessions.find(cookie) is not None for cookie in cookies]
    assert found == [False, True, True]


def test_who_guesses_has_to_wait_and_nobody_else(world):
    statuses = [world.status(f"guess-{number}") for number in range(limits.WRONG_TOKENS + 10)]
    assert statuses == [401] * limits.WRONG_TOKENS + [429] * 10
    assert world.status(LONG) == 200, "a right token from the same address"
    assert world.status("guess", "5.6.7.8") == 401
    world.seconds += 100
    assert world.status("guess") == 401


def test_an_expired_or_revoked_token_is_no_guess(world):
    world.write(f"operate {LONG}2 two 2020-01-01")
    assert {world.status(token) for token in (LONG, LONG + "2") for _ in range(200)} == {401}


def test_an_ipv6_network_is_one_address_and_the_table_is_bounded():
    backoff = Backoff(lambda: 0.0)
    for number in range(limits.WRONG_TOKENS):
        assert backoff.wrong(f"2001:db8::{number:x}") == 0
    assert backoff.wrong("2001:db8::ffff") == 1
    assert backoff.wrong("2001:db8:0:1::") == 0
    for number in range(12_000):
        backoff.wrong(f"10.0.{number // 250}.{number % 250}")
    assert len(backoff._spent) == 10_000


def test_others_who_may_read_the_file_are_warned_of(world, tmp_path, caplog):
    world.file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        TokenFile(world.file, lambda: NOW, lambda: 0.0)
    assert "chmod 600" in caplog.text
