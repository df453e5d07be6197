"""The file of tokens: one line a token, read again whenever it changes.

    # role   token, or its sha256                            name      expires
    operate  sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e…  alice     2027-01-31
    read     aPlainTokenOfAtLeastSixteenCharacters           grafana

Only hashes are kept in memory, and a token is compared with every one of them in constant time. A token whose line is
gone, or whose instant has come, is worth nothing from then on.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from attrs import frozen

from goflow_trio.errors import UsageError

logger = logging.getLogger("goflow_trio.web.guard")

_HASHED = re.compile(r"sha256:([0-9a-fA-F]{64})")
_SHORT = 16
_MOST_FIELDS = 4
_LOOK_AGAIN_SECONDS = 1.0
_PRIVATE = 0o077


class Role(StrEnum):
    """What a token is good for: `operate` includes `read`."""

    READ = "read"
    OPERATE = "operate"


@frozen
class Token:
    """A line of the file.

    Args:
        digest: sha256 of the token.
        role: what it is good for.
        name: whom it was given to; who did what is told by this name.
        expires: the instant from which on it is worth nothing.
    """

    digest: bytes
    role: Role
    name: str
    expires: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Return whether it has not expired."""
        return self.expires is None or now < self.expires


def digest(token: str) -> bytes:
    """Return what is kept of a token."""
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def parse(text: str) -> tuple[list[Token], list[str]]:
    """Return the tokens of a file, and what is wrong with the lines that hold none. No message quotes a token."""
    tokens: dict[bytes, Token] = {}
    mistakes = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            token = _parse_line(line.split(), number)
            if token.digest in tokens:
                raise ValueError(f"the same token as that of {tokens[token.digest].name}")  # noqa: TRY301
            tokens[token.digest] = token
        except ValueError as error:
            mistakes.append(f"line {number}: {error}")
    return list(tokens.values()), mistakes


def _parse_line(fields: list[str], number: int) -> Token:
    if len(fields) > _MOST_FIELDS:
        raise ValueError("more than four fields; write: role token name expiry")
    if len(fields) == 1:
        fields = [Role.OPERATE, *fields]
    role, secret, name, expiry = [*fields, f"line-{number}", ""][:4] if len(fields) != 3 else [*fields, ""]  # noqa: PLR2004
    if role not in set(Role):
        raise ValueError("the first field must be a role: read or operate")
    if hashed := _HASHED.fullmatch(secret):
        return Token(bytes.fromhex(hashed[1]), Role(role), name, _parse_expiry(expiry))
    if secret.startswith("sha256:") or secret in set(Role):
        raise ValueError("the token is neither sha256: with 64 hex digits nor one in plain text")
    if len(secret) < _SHORT:
        logger.warning("the token of %s is short: take one of `goflow-trio token`, nobody guesses that", name)
    return Token(digest(secret), Role(role), name, _parse_expiry(expiry))


def _parse_expiry(text: str) -> datetime | None:
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("the expiry must be a date or an instant such as 2027-01-31 or 2027-01-31T12:00Z") from None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


class TokenFile:
    """The tokens that count at the moment.

    Args:
        path: the file.
        now: the wall clock.
        monotonic: a clock that does not jump, to look at the file once a second at most.

    Raises:
        UsageError: the file cannot be read, or a line of it is wrong.
    """

    def __init__(self, path: Path, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self.path = path
        self._now = now
        self._monotonic = monotonic
        self._looked = monotonic()
        try:
            self._seen = self._fingerprint()
            tokens, mistakes = parse(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the token file {path} cannot be read: {getattr(error, 'strerror', error)}") from None
        if mistakes:
            raise UsageError(f"the token file {path} is wrong in {mistakes[0]}")
        if path.stat().st_mode & _PRIVATE:
            logger.warning("others on this machine may read the token file %s: chmod 600 %s", path, path)
        if not tokens:
            logger.warning("the token file %s holds no token: nobody can do anything", path)
        self._tokens = tuple(tokens)
        self._revoked: set[bytes] = set()

    def find(self, token: str) -> Token | None:
        """Return the line of a token, expired or not; None if the file has none."""
        self.refresh()
        wanted = digest(token)
        found = None
        for known in self._tokens:  # all of them, so that time tells nothing
            if hmac.compare_digest(known.digest, wanted):
                found = known
        return found

    def was_revoked(self, token: str) -> bool:
        """Return whether a token was in the file since this program began."""
        return digest(token) in self._revoked

    def is_valid(self, token: Token) -> bool:
        """Return whether a token found earlier still counts, with the same role."""
        self.refresh()
        return token in self._tokens and token.is_valid(self._now())

    def refresh(self) -> None:
        """Read the file again if it changed. A line that is wrong is left out, and so is a file that is gone."""
        if self._monotonic() - self._looked < _LOOK_AGAIN_SECONDS:
            return
        self._looked = self._monotonic()
        try:
            seen = self._fingerprint()
            if seen == self._seen:
                return
            text = self.path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            if self._seen is not None:
                logger.error("the token file %s cannot be read, so no token counts: %s", self.path, error)  # noqa: TRY400
            seen, text = None, ""
        if seen is None and self._seen is None:
            return
        tokens, mistakes = parse(text)
        for mistake in mistakes:
            logger.error("the token file %s: left out %s", self.path, mistake)
        self._revoked |= {old.digest for old in self._tokens} - {new.digest for new in tokens}
        self._revoked -= {new.digest for new in tokens}
        self._tokens, self._seen = tuple(tokens), seen
        logger.info("the token file %s was read again: %d tokens", self.path, len(tokens))

    def _fingerprint(self) -> tuple[int, int, int] | None:
        status = self.path.stat()
        return status.st_ino, status.st_mtime_ns, status.st_size
