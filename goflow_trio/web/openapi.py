"""The description of the API in OpenAPI 3.1, made from the declarations that the requests are checked with."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterable, Sequence
from http import HTTPStatus
from importlib.metadata import version
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from goflow_trio.web.answering import PROBLEM
from goflow_trio.web.guard.sessions import COOKIE
from goflow_trio.web.routes import EVENT_STREAM, JSON, Route, Routes
from goflow_trio.web.shapes import FeedEvent, Problem

COMMON: dict[int, str] = {
    400: "The request does not fit this description; nothing was done.",
    401: "A token is needed, and none or a wrong one was given.",
    403: "The token does not allow this, or the request comes from another site.",
    408: "The body took too long.",
    413: "The body is too large.",
    414: "The URL is too long.",
    415: "The body is no JSON.",
    421: "The Host header names another server.",
    429: "A limit is reached; try again after `Retry-After` seconds.",
    431: "The headers are too large.",
    503: "The store or the server does not take this at the moment; try again after `Retry-After` seconds.",
}
"""What any route may answer, if it reads what the status is about."""

_FURTHER: dict[int, str] = {
    404: "There is nothing of this name or id.",
    409: "That cannot be done in the state it is in.",
    410: "Its record in the store is damaged, and was set aside.",
    416: "Nothing is kept in that range.",
    422: "It was understood and is refused; nothing was done.",
}
HOOK_TOKEN = "X-Hook-Token"  # noqa: S105  # the header, not what is in it
_NEEDS_BODY = {408, 413, 415}
_SECURITY: dict[str, list[dict[str, list[str]]]] = {"open": [], "hook": [{"hook": []}]}
_REF = "#/components/schemas/{name}"


def describe(groups: Sequence[Routes]) -> dict[str, Any]:
    """Return the document."""
    every = [route for group in groups for route in group.routes]
    kinds = [FeedEvent, Problem, *(kind for route in every for kind in _kinds(route))]
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in every:
        method = "get" if route.method == "WEBSOCKET" else route.method.lower()
        paths.setdefault(route.path, {})[method] = _operation(route, schemas)
    for kind in {kind.__name__ for route in every for kind in (route.query, route.headers) if kind is not None}:
        del schemas[kind]  # they are parameters of their routes
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "goflow-trio",
            "version": version("goflow-trio"),
            "description": "A DAG scheduler. Times are RFC 3339 in UTC. A 2xx answer to a write means: it is durable.",
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(group.tag for group in groups)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {HTTPStatus(status).name: _problem(text) for status, text in (COMMON | _FURTHER).items()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "hook": {
                    "type": "apiKey",
                    "in": "header",
                    "name": HOOK_TOKEN,
                    "description": "The token of one job; as a bearer token too.",
                },
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def _kinds(route: Route) -> Iterable[Any]:
    """Return the types of a route that have a schema of their own."""
    for kind in (route.body, *route.answers.values(), route.query, route.headers):
        for member in _members(kind):
            if member not in {str, bytes, None} and get_origin(member) is not AsyncIterator:
                yield member


def _members(kind: Any) -> Sequence[Any]:
    return get_args(kind) if get_origin(kind) in {Union, UnionType} else [kind]


def _schema(kind: Any) -> Any:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return schema


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    summary, _, description = (inspect.getdoc(route.handler) or route.name).partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": summary.rstrip("."),
        "parameters": [
            *({"name": part, "in": "path", "required": True, "schema": {"type": "string"}} for part in route.parts),
            *_parameters(route.query, "query", schemas),
            *_parameters(route.headers, "header", schemas),
        ],
        "responses": _responses(route),
        "security": _SECURITY.get(route.role, [{}, {"token": []}, {"session": []}]),
        "x-role": route.role,
    }
    if route.method == "WEBSOCKET":
        operation["x-websocket"] = True
    if description:
        operation["description"] = description
    if route.body is not None:
        needed = NoneType not in get_args(route.body)
        operation["requestBody"] = {"required": needed, "content": {JSON: {"schema": _schema(route.body)}}}
    return operation


def _parameters(kind: Any, place: str, schemas: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if kind is None:
        return
    schema = schemas[kind.__name__]
    for name, field in schema["properties"].items():
        described = {key: value for key, value in field.items() if key != "description"}
        parameter = {"name": name, "in": place, "required": name in schema["required"], "schema": described}
        if "description" in field:
            parameter["description"] = field["description"]
        yield parameter


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in route.answers.items():
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": _content(kind, route.content_type if status == HTTPStatus.OK else JSON),
        }
    if route.method == "WEBSOCKET":
        responses = {
            "101": {"description": "Each message is an event, as JSON text."},
            "426": _problem("It was asked for as if it were no WebSocket."),
        }
    for status in sorted({*COMMON, *route.errors}):
        if status in _NEEDS_BODY and route.body is None:
            continue
        reference = {"$ref": f"#/components/responses/{HTTPStatus(status).name}"}
        if str(status) in responses:
            responses[str(status)]["content"].update(_problem("")["content"])
        else:
            responses[str(status)] = reference
    if route.parts:
        unmatched = responses.setdefault("404", {"description": _FURTHER[404], "content": {}})
        if "$ref" in unmatched:
            unmatched = responses["404"] = _problem(_FURTHER[404])
        unmatched["content"]["text/plain"] = {"schema": {"const": "404 page not found"}}
    return responses


def _content(kind: Any, content_type: str) -> dict[str, Any]:
    """Return what an answer is, by media type."""
    if content_type == EVENT_STREAM:
        return {EVENT_STREAM: {"schema": {"type": "string"}}}
    content: dict[str, Any] = {}
    for member in _members(kind):
        if member in {str, bytes}:
            content["text/plain" if content_type == JSON else content_type] = {"schema": {"type": "string"}}
        else:
            content[content_type] = {"schema": _schema(member)}
    return content


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM: {"schema": {"$ref": _REF.format(name="Problem")}}}}
