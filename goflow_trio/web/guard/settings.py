"""What can be set about security, checked when it is set."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from goflow_trio.errors import UsageError
from goflow_trio.web.guard.caller import Caller

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _words(values: str | Iterable[str]) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else tuple(values)


def _networks(values: str | Iterable[str]) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(value, strict=False) for value in _words(values))
    except ValueError as error:
        raise UsageError(f"forwarded_allow_ips: {error}; write addresses or networks such as 10.0.0.0/8") from None


def _hosts(values: str | Iterable[str]) -> tuple[str, ...]:
    for value in _words(values):
        if not value or "/" in value or any(char.isspace() for char in value):
            raise UsageError(f"allowed host {value!r}: write a name without scheme or path, such as goflow.example.org")
    return tuple(value.lower() for value in _words(values))


def _origins(values: str | Iterable[str]) -> tuple[str, ...]:
    for value in _words(values):
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path or parts.query or parts.fragment:
            raise UsageError(f"CORS origin {value!r}: write scheme and host only, such as https://app.example.org")
    return tuple(value.lower() for value in _words(values))


def _root_path(value: str) -> str:
    path = value.rstrip("/")
    if path and (not path.startswith("/") or "//" in path or not path.isprintable() or set(path) & set(' ?#%"<>\\;')):
        raise UsageError(f"root path {value!r}: write a path such as /goflow")
    return path


_OWN_PATHS = {"/api/", "/ui/", "/stream/", "/metrics/"}


def _sign_in(value: str) -> str:
    if value and (not re.fullmatch(r"/[A-Za-z0-9_-]+/", value) or value in _OWN_PATHS):
        raise UsageError(f"sign_in {value!r}: write one part of a path that is nobody else's, such as /oidc/")
    return value


@frozen(kw_only=True)
class Security:
    """Who may reach a server, and how. The defaults fit a server on loopback without tokens.

    Args:
        token_file: path of the file of tokens; from then on nothing is answered without one.
        allowed_hosts: names by which it may be called, besides those of loopback and the address it listens on;
            `*.example.org` stands for all below, `*` for any.
        cors_origins: web pages of other origins that may call it with a token, such as `https://app.example.org`.
        forwarded_allow_ips: reverse proxies whose `X-Forwarded-For`, `-Proto` and `-Host` are believed.
        root_path: the path it is reached under, if a reverse proxy puts it below one. An ASGI app that it is mounted in
            says it by itself.
        certfile: a certificate in PEM, to speak TLS.
        keyfile: its private key.
        identify: says who sends a request, by its ASGI scope, where no token of the file does: a `Caller`, or None for
            somebody unknown, who is refused. From then on nothing is answered without one. It is asked on the event
            loop, again and again while a stream is open, and must not wait.
        sign_in: path below which a middleware or a route of yours signs people in, such as `/oidc/`. It is answered
            whoever calls, and browsers of unknown callers are sent there, with the path they asked for as `next`.

    Raises:
        UsageError: one of them is wrong.
    """

    token_file: str | os.PathLike[str] | None = None
    allowed_hosts: tuple[str, ...] = field(default=(), converter=_hosts)
    cors_origins: tuple[str, ...] = field(default=(), converter=_origins)
    forwarded_allow_ips: tuple[Network, ...] = field(default=(), converter=_networks)
    root_path: str = field(default="", converter=_root_path)
    certfile: str | os.PathLike[str] | None = None
    keyfile: str | os.PathLike[str] | None = None
    identify: Callable[[Mapping[str, Any]], Caller | None] | None = None
    sign_in: str = field(default="", converter=_sign_in)

    @property
    def asks_who_calls(self) -> bool:
        """Whether a request is refused that nobody is known to have sent."""
        return self.token_file is not None or self.identify is not None

    def __attrs_post_init__(self) -> None:
        """Refuse half of a pair."""
        if self.sign_in and self.identify is None:
            raise UsageError("sign_in goes together with identify, which says who has signed in")
        if (self.certfile is None) != (self.keyfile is None):
            raise UsageError(
                "a certificate and its key go together: give --certfile and --keyfile (certfile=, keyfile=), or neither"
            )

    def tls(self) -> ssl.SSLContext | None:
        """Return the context of a server that speaks TLS 1.2 or newer; None without a certificate.

        Raises:
            UsageError: the files cannot be used.
        """
        if self.certfile is None or self.keyfile is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        for what, path in (("certificate", self.certfile), ("key", self.keyfile)):
            try:
                Path(path).read_bytes()
            except OSError as error:
                raise UsageError(f"the {what} {path} cannot be read: {error.strerror}") from None
        try:
            context.load_cert_chain(self.certfile, self.keyfile, password=_refuse_password)
        except (OSError, ValueError) as error:
            why = str(getattr(error, "reason", None) or error).replace("_", " ").lower()
            raise UsageError(
                f"the certificate {self.certfile} and the key {self.keyfile} cannot be used ({why}): both are files "
                f"in PEM, the key is not encrypted and belongs to the certificate"
            ) from None
        return context


def _refuse_password() -> str:
    """Refuse an encrypted key, where OpenSSL would ask at the terminal."""
    raise ValueError("the key is encrypted")
