"""Secrets: values that come from outside when they are needed, and are shown, logged and stored nowhere.

Once a secret has been revealed, its value is masked in whatever a task prints, returns or raises, in this process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from goflow_trio.errors import DefinitionError, OperatorError

MASK: Final = "***"
"""What is shown in place of a secret."""

SHORTEST: Final = 4
"""Characters a value must have to be masked: a shorter one is part of too much that is none."""

_revealed: set[str] = set()


def _check_name(_instance: object, _attribute: object, name: Any) -> None:
    if not isinstance(name, str) or not name or "=" in name or "\0" in name:
        raise DefinitionError(f"Secret: {name!r} cannot be the name of an environment variable")


def _check_form(_instance: object, _attribute: object, form: Any) -> None:
    if not isinstance(form, str) or form.count("{}") != 1:
        raise DefinitionError(f"Secret: form must be a text with one {{}} in it, as 'Bearer {{}}', got {form!r}")


@frozen
class Secret:
    """A value that is read from the environment of the server, or from a file, when it is needed: `Secret("TOKEN")`.

    Usable in the `env` and `args` of a `Command` and in the headers of a `Request`, `Get` or `Post`; your own code
    calls `reveal()`. Its value is masked as `***` in the output, result and error of any task, if it has four
    characters or more. Prefer `env`: arguments of a process can be seen by everybody on the machine.

    >>> Secret("TOKEN", form="Bearer {}")
    Secret('TOKEN')

    Args:
        name: of the environment variable; with a file, only what it is called.
        file: path of a file that holds it; line breaks at its end are no part of it.
        form: what it is put into.
    """

    name: str = field(validator=_check_name)
    file: str | os.PathLike[str] | None = None
    form: str = field(default="{}", validator=_check_form, kw_only=True)

    def reveal(self) -> str:
        """Return the value.

        Raises:
            OperatorError: there is none; it tells where one was looked for.
        """
        if self.file is not None:
            try:
                value = Path(self.file).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is no UTF-8"
                raise OperatorError(
                    f"secret {self.name!r} cannot be read from {os.fspath(self.file)!r}: {reason}"
                ) from None
        else:
            found = os.environ.get(self.name)
            if found is None:
                raise OperatorError(
                    f"secret {self.name!r} is not in the environment of the server; set it, or give a file"
                )
            value = found
        for part in (value, *value.splitlines()):
            if len(part) >= SHORTEST:
                _revealed.add(part)
        return self.form.replace("{}", value)

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    __str__ = __repr__


def revealed(value: str | Secret) -> str:
    """Return a text, or what a secret stands for."""
    return value.reveal() if isinstance(value, Secret) else value


def any_revealed() -> bool:
    """Whether there is anything to mask."""
    return bool(_revealed)


def mask(text: str) -> str:
    """Return a text without the secrets that were revealed."""
    for secret in sorted(_revealed, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def mask_value(value: Any) -> Any:
    """Return plain data without the secrets that were revealed; what is of another kind is not looked into."""
    if not _revealed:
        return value
    try:
        return _masked(value)
    except RecursionError:  # so deep that it will not be kept
        return value


def _masked(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return mask(value)
    if kind is bytes:
        return StreamMask(MASK.encode()).all_of(value)
    if kind is list or kind is tuple:
        return kind(_masked(item) for item in value)
    if kind is dict:
        return {_masked(key): _masked(item) for key, item in value.items()}
    return value


class StreamMask:
    """Masks secrets in bytes that come piece by piece, also one that is cut in two.

    Args:
        mask: what is put in place of a secret.
    """

    __slots__ = ("_held", "_mask")

    def __init__(self, mask: bytes = MASK.encode()) -> None:
        self._held = b""
        self._mask = mask

    def feed(self, data: bytes) -> bytes:
        """Take the next piece; return what can be shown. What may be the beginning of a secret is held back."""
        if not _revealed and not self._held:
            return data
        data = self._held + data
        secrets = sorted((secret.encode("utf-8", "surrogateescape") for secret in _revealed), key=len, reverse=True)
        for secret in secrets:
            data = data.replace(secret, self._mask)
        held = max((_overlap(data, secret) for secret in secrets), default=0)
        self._held = data[len(data) - held :]
        return data[: len(data) - held]

    def rest(self) -> bytes:
        """Return what was held back, at the end of all."""
        rest, self._held = self._held, b""
        return rest

    def all_of(self, data: bytes) -> bytes:
        """Return the whole of something."""
        return self.feed(data) + self.rest()


def _overlap(data: bytes, secret: bytes) -> int:
    """Return how many bytes at the end of `data` are a beginning of `secret`."""
    for length in range(min(len(secret) - 1, len(data)), 0, -1):
        if data.endswith(secret[:length]):
            return length
    return 0
