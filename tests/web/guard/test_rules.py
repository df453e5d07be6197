"""Host, Origin and size: each check alone."""

from __future__ import annotations

import pytest

from goflow_trio import Security, UsageError
from goflow_trio.core import limits
from goflow_trio.web.guard.proxies import believe_proxy
from goflow_trio.web.guard.rules import Refused, check_host, check_origin, check_size


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        (None, ()),
        ("localhost", ()),
        ("LOCALHOST:8181", ()),
        ("localhost.:8181", ()),
        ("goflow.localhost", ()),
        ("127.0.0.1:8181", ()),
        ("127.9.9.9", ()),
        ("[::1]:8181", ()),
        ("192.0.2.7:8181", ()),  # the address it arrived at
        ("Goflow.example.org", ("goflow.example.org",)),
        ("a.example.org:80", ("*.example.org",)),
        ("anything", ("*",)),
    ],
)
def test_own_names(host, allowed):
    check_host(host, "192.0.2.7", allowed)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("", ()),
        ("evil.example", ()),
        ("localhost.evil.example", ()),
        ("127.0.0.1.evil.example", ()),
        ("notlocalhost", ()),
        ("192.0.2.8", ()),
        ("user@localhost", ()),
        ("localhost/evil", ()),
        ("localhost?x", ()),
        ("localhost#x", ()),
        ("localhost:x", ()),
        ("[::1", ()),
        ("localhost evil.example", ()),
        ("example.org", ("*.example.org",)),
        ("evilexample.org", ("*.example.org",)),
    ],
)
def test_names_of_others(host, allowed):
    with pytest.raises(Refused) as refused:
        check_host(host, "192.0.2.7", allowed)
    assert refused.value.status == 421
    assert "--allowed-host" in refused.value.detail


HOST = {"host": "127.0.0.1:8181"}


@pytest.mark.parametrize(
    ("scheme", "headers"),
    [
        ("http", HOST),
        ("http", {**HOST, "origin": "http://127.0.0.1:8181"}),
        ("http", {**HOST, "sec-fetch-site": "none"}),
        ("http", {"host": "flow.example", "origin": "https://flow.example", "sec-fetch-site": "same-origin"}),
        ("https", {"host": "flow.example", "origin": "https://flow.example"}),
        ("http", {"host": "flow.example:8443", "origin": "https://FLOW.example:8443"}),
        ("http", {**HOST, "origin": "https://friend.example", "sec-fetch-site": "cross-site"}),
    ],
)
def test_own_origins(scheme, headers):
    check_origin(scheme, headers, {"https://friend.example"})


@pytest.mark.parametrize(
    ("scheme", "headers"),
    [
        ("http", {**HOST, "origin": "http://127.0.0.1:8182"}),
        ("http", {**HOST, "origin": "http://localhost:8181"}),
        ("http", {**HOST, "origin": "null"}),
        ("http", {**HOST, "origin": ""}),
        ("http", {**HOST, "origin": "http://127.0.0.1:8181.evil.example"}),
        ("http", {**HOST, "origin": "http://127.0.0.1:x"}),
        ("http", {**HOST, "sec-fetch-site": "same-site"}),
        ("http", {**HOST, "origin": "http://127.0.0.1:8181", "sec-fetch-site": "cross-site"}),
        ("https", {"host": "flow.example", "origin": "http://flow.example"}),
        ("http", {"origin": "https://evil.example"}),
    ],
)
def test_origins_of_others(scheme, headers):
    with pytest.raises(Refused) as refused:
        check_origin(scheme, headers, {"https://friend.example"})
    assert refused.value.status == 403


def test_sizes():
    check_size(limits.URL_BYTES, [(b"a", b"b")] * limits.HEADERS)
    for size, headers, status in (
        (limits.URL_BYTES + 1, [], 414),
        (1, [(b"a", b"b")] * (limits.HEADERS + 1), 431),
        (1, [(b"a", b"b" * limits.HEADER_BYTES)], 431),
    ):
        with pytest.raises(Refused) as refused:
            check_size(size, headers)
        assert refused.value.status == status


@pytest.mark.parametrize(
    "wrong",
    [
        {"allowed_hosts": ["http://x"]},
        {"allowed_hosts": [""]},
        {"cors_origins": ["*"]},
        {"cors_origins": ["https://x/path"]},
        {"forwarded_allow_ips": ["proxy"]},
        {"root_path": "goflow"},
        {"root_path": "/a b"},
        {"certfile": "x"},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        Security(**wrong)


def told(client, *, trusted=("10.0.0.0/8",), kind="http", **headers):
    scope = {
        "type": kind,
        "client": (client, 1),
        "scheme": "http" if kind == "http" else "ws",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    believe_proxy(scope, Security(forwarded_allow_ips=trusted).forwarded_allow_ips)
    host = [value.decode() for name, value in scope["headers"] if name == b"host"]
    return scope["client"][0], scope["scheme"], host


def test_a_named_proxy_is_believed_and_nobody_else():
    said = {"x_forwarded_for": "1.2.3.4", "x_forwarded_proto": "https", "x_forwarded_host": "flow.example", "host": "a"}
    assert told("10.0.0.1", **said) == ("1.2.3.4", "https", ["flow.example"])
    assert told("10.0.0.1", kind="websocket", **said)[1] == "wss"
    assert told("192.0.2.1", **said) == ("192.0.2.1", "http", ["a"])
    assert told("10.0.0.1", trusted=(), **said) == ("10.0.0.1", "http", ["a"])


def test_what_a_stranger_put_before_his_own_address_does_not_count():
    assert told("10.0.0.1", x_forwarded_for="127.0.0.1, 6.6.6.6, 10.0.0.9")[0] == "6.6.6.6"
    assert told("10.0.0.1", x_forwarded_for="not an address")[0] == "10.0.0.1"
