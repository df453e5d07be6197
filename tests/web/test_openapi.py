"""The description of the API is valid, complete, and what requests are really checked with."""

from __future__ import annotations

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from goflow_trio.errors import UsageError
from goflow_trio.web.app import ROUTES, create_app
from goflow_trio.web.openapi import describe
from goflow_trio.web.reading import UnsupportedBody, read_body
from tests.web.test_api import serving


def test_the_description_is_valid():
    OpenAPIV31SpecValidator(describe(ROUTES)).validate()


def test_every_route_of_the_app_is_described():
    app = create_app(lambda: pytest.fail("the engine is not asked"))
    paths = describe(ROUTES)["paths"]
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<", "{").replace(">", "}")
        if path == "/" or path.startswith("/ui"):
            continue
        methods = {"get"} if rule.websocket else {method.lower() for method in rule.methods} - {"head", "options"}
        assert methods <= set(paths[path]), f"{path} is not described"


def test_every_operation_says_what_it_does_and_who_may():
    described = describe(ROUTES)
    names = [operation["operationId"] for path in described["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], path
            assert operation["x-role"] in {"open", "read", "operate", "hook"}
            assert operation["x-role"] in {"open", "hook"} or (operation["x-role"] == "operate") == (method == "post")


async def test_the_description_and_its_page_are_served():
    async with serving() as client:
        answer = await client.get("/api/openapi.json")
        assert answer.json()["openapi"] == "3.1.0"
        page = await client.get("/api/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'self'" in page.headers["content-security-policy"]
        for name in ("docs.js", "docs.css"):
            assert f"docs/{name}" in page.text
            part = await client.get(f"/api/docs/{name}")
            assert part.status_code == 200
            assert "://" not in part.text


class Body(msgspec.Struct, forbid_unknown_fields=True):
    params: dict[str, object] | None = None
    n: int = 1


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b'{"n":1,"n":2}', "'n' comes twice"),
        (b'{"params":{"a":{"x":1,"x":1}}}', "'x' comes twice"),
        (b'{"params":{"a":NaN}}', "NaN"),
        (b'{"params":{"a":-Infinity}}', "Infinity"),
        (b'{"params":{"a":1e999}}', "out of range"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"params":' + b'{"a":' * 100_000, "nested deeper"),
        (b'{"n":"1"}', "Expected `int`, got `str` - at `$.n`"),
        (b'{"n":1.5}', "Expected `int`, got `float` - at `$.n`"),
        (b'{"m":1}', "unknown field `m`"),
        (b"", "cannot be used"),
        (b"{bad", "cannot be used, it is not JSON"),
        (b'"' + rb"\"" * 200_000, "cannot be used"),
        (b'{"params":{"a":"\xff"}}', "cannot be used"),
        ('{"n":1}'.encode("utf-16"), "cannot be used"),
        (rb'{"params":{"a":"\ud800"}}', "cannot be used"),
    ],
)
def test_what_is_no_plain_json_is_refused_by_name(data, rule):
    with pytest.raises(UsageError) as caught:
        read_body(data, Body, "application/json")
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


def test_brackets_in_strings_do_not_count():
    assert read_body(b'{"params":{"a":"' + b"[" * 1000 + b'\\""}}', Body, "").params["a"] == "[" * 1000 + '"'


def test_an_empty_body_is_none_where_that_is_allowed():
    assert read_body(b" ", Body | None, "text/plain") is None


def test_a_body_that_says_it_is_something_else_is_refused():
    with pytest.raises(UnsupportedBody, match="Content-Type: application/json"):
        read_body(b"{}", Body, "text/plain")
    assert read_body(b"{}", Body, None) == Body()


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/api/executions?limit=0", "query parameter limit: expected `int` >= 1; got '0'"),
        (
            "/api/executions?since=0.5",
            "query parameter since: write an instant as 2026-01-01T00:00:00Z; got '0.5'",
        ),
        ("/api/executions?limit=x", "query parameter limit: expected `int`; got 'x'"),
        ("/api/jobs/noop-1/next?n=1001", "query parameter n: expected `int` <= 1000; got '1001'"),
    ],
)
async def test_a_bad_query_names_field_rule_and_value(path, detail):
    async with serving() as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["detail"]) == (400, detail)


async def test_an_instant_in_a_query_may_have_an_offset():
    async with serving() as client:
        assert (await client.get("/api/executions?since=2026-01-01T00:00:00+01:00")).status_code == 200


async def test_redirects_reflect_nothing_and_stay_here():
    async with serving() as client:
        answer = await client.get("/api/jobs/%3Cscript%3E%0d%0aX:y/")
        assert answer.status_code == 301
        assert answer.headers["location"] == "/api/jobs/%3Cscript%3E%0D%0AX%3Ay"
        assert "<script>" not in answer.text
        assert (await client.get("//api/health/")).status_code == 404
        assert (await client.get("//api/health")).status_code == 404


@pytest.mark.parametrize(("data", "is_empty"), [(b"", True), (b" \t\r\n", True), (b"\x0c", False), (b"\x0b\n", False)])
def test_only_what_json_calls_white_space_makes_an_empty_body(data, is_empty):
    if is_empty:
        assert read_body(data, Body | None, "application/json") is None
    else:
        with pytest.raises(UsageError, match="cannot be used"):
            read_body(data, Body | None, "application/json")
