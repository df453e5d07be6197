"""How a route is declared: a plain function, whose annotations say what it reads and what it answers.

    routes = Routes("jobs")

    class Ask(Struct):
        n: Annotated[int, Meta(ge=1, le=1000, description="how many instants")] = 10

    @routes.get("/api/jobs/{job}/next", errors=[404])
    async def upcoming_instants(engine: Engine, job: str, query: Ask) -> Upcoming:
        '''Upcoming instants of a job's schedule.'''
        return Upcoming(job, engine.upcoming(job, query.n))

From this one declaration come the check of every request and the description in `/api/openapi.json`; the first line
of the docstring is the summary there, the rest the description, and the function's name the operation's id. A
parameter named

- `engine` gets the running engine;
- `query`, `headers` get the Struct of their annotation, read from the query string or the headers. Fields are strings,
  numbers or booleans; derive the Struct of headers from `Headers`, which writes their names as headers are written;
- `body` gets the JSON body as the annotated type; `… | None` allows an empty one. Give its Structs
  `forbid_unknown_fields=True`, so that a misspelt field is refused and not ignored;
- `caller` gets the name of whoever asks, empty where nobody has to say;
- anything else is the `{part}` of the path of the same name.

What cannot be read so is a 400 that names the field; the handler sees only what is valid. A handler returns its answer
(a Struct, or plain data), an `Answer` where there is more to say than the body, an async iterator of bytes for a
stream, or a Quart `Response`. It raises the errors of `errors.py`; `web/app.py` has the one table of their statuses.
`errors` lists those that the route can answer with besides what every route can (`openapi.COMMON`); `also` gives shapes
to other statuses.

To add routes: a module in `web/` with its `routes`, and a line in `ROUTES` of `web/app.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, TypedDict, TypeVar, Union, Unpack, get_args, get_origin, get_type_hints

import msgspec
from attrs import field, frozen
from quart import Quart, Response, request, websocket
from quart.wrappers import Request, Websocket

from goflow_trio.actors.engine import Engine
from goflow_trio.web.reading import read_body, read_strings

JSON = "application/json"
EVENT_STREAM = "text/event-stream"

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])


def _header_name(name: str) -> str:
    return name.replace("_", "-").title()


class Headers(msgspec.Struct, rename=_header_name):
    """Base of what a route reads from headers: the field `idempotency_key` is the header `Idempotency-Key`."""


@frozen
class Answer:
    """An answer with a status or headers of its own.

    Args:
        body: what the annotation of the route says, or what `also` says for this status.
        status: the status.
        headers: further headers.
    """

    body: Any
    status: int = 200
    headers: dict[str, str] = field(factory=dict)


class Options(TypedDict, total=False):
    """What a declaration may say besides the annotations; see `Route`."""

    role: str
    errors: Sequence[int]
    also: Mapping[int, Any]
    content_type: str
    lenient: bool


@frozen
class Route:
    """One declared route.

    Args:
        method: the HTTP method, in capitals; `WEBSOCKET` for a WebSocket.
        path: as in OpenAPI: `/api/jobs/{job}`.
        handler: the function behind it.
        tag: the group it is listed in.
        role: what a caller must be allowed to: `open` (nothing), `read` or `operate`; `hook` asks for the token of
            its job, whoever calls.
        errors: statuses of errors it answers with besides the common ones.
        answers: type of the body by status.
        content_type: media type of the answer with status 200.
        lenient: the body counts as JSON whatever its Content-Type says.
        query: Struct read from the query string.
        headers: Struct read from the headers.
        body: type of the JSON body.
        parts: names of the path's parts.
        wants: which of `engine` and `caller` its handler is given.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[Any]]
    tag: str
    role: str
    errors: Sequence[int]
    answers: Mapping[int, Any]
    content_type: str
    lenient: bool
    query: Any
    headers: Any
    body: Any
    parts: tuple[str, ...]
    wants: frozenset[str]

    @property
    def name(self) -> str:
        """Name of the operation, unique in the app."""
        return self.handler.__name__

    @property
    def rule(self) -> str:
        """The path as Quart writes it."""
        return self.path.replace("{", "<").replace("}", ">")

    async def call(self, asked: Request | Websocket, engine: Callable[[], Engine], parts: Mapping[str, str]) -> Any:
        """Read the request as the declaration says, and have it answered.

        Raises:
            UsageError: the request does not fit the declaration.
            EngineClosed: it wants the engine and there is none.
        """
        given: dict[str, Any] = dict(parts)
        if self.query is not None:
            given["query"] = read_strings(asked.args, self.query, "query parameter")
        if self.headers is not None:
            given["headers"] = read_strings(asked.headers, self.headers, "header")
        if self.body is not None and isinstance(asked, Request):
            given["body"] = read_body(await asked.get_data(), self.body, None if self.lenient else asked.mimetype)
        if "caller" in self.wants:
            given["caller"] = getattr(asked.scope.get("goflow_trio.caller"), "name", "")
        if "engine" in self.wants:
            given["engine"] = engine()
        return await self.handler(**given)


class Routes:
    """A group of routes, in the order of declaration.

    Args:
        tag: the group's name in the description of the API.
    """

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.routes: list[Route] = []

    def get(self, path: str, **options: Unpack[Options]) -> Callable[[Handler], Handler]:
        """Declare a route that reads; asking it changes nothing."""
        return self._declare("GET", path, options)

    def post(self, path: str, **options: Unpack[Options]) -> Callable[[Handler], Handler]:
        """Declare a route that does something."""
        return self._declare("POST", path, options)

    def websocket(self, path: str, **options: Unpack[Options]) -> Callable[[Handler], Handler]:
        """Declare a WebSocket; its handler sends and receives through `quart.websocket`."""
        return self._declare("WEBSOCKET", path, options)

    def _declare(self, method: str, path: str, options: Options) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            hints = get_type_hints(handler, include_extras=True)
            answer = _without(hints.pop("return"), Answer)
            wants = frozenset(name for name in ("engine", "caller") if hints.pop(name, None) is not None)
            query, headers, body = (hints.pop(name, None) for name in ("query", "headers", "body"))
            assert [f"{{{part}}}" for part in hints] == [part for part in path.split("/") if part[:1] == "{"]
            route = Route(
                method=method,
                path=path,
                handler=handler,
                tag=self.tag,
                role=options.get("role", "operate" if method == "POST" else "read"),
                errors=tuple(options.get("errors", ())),
                answers={200: answer, **options.get("also", {})},
                content_type=options.get("content_type", JSON),
                lenient=options.get("lenient", False),
                query=query,
                headers=headers,
                body=body,
                parts=tuple(hints),
                wants=wants,
            )
            self.routes.append(route)
            return handler

        return declare


def _without(hint: Any, kind: type) -> Any:
    """Return a type without one member of its union."""
    if get_origin(hint) in {Union, UnionType}:
        return Union[tuple(member for member in get_args(hint) if member is not kind)]  # noqa: UP007  # a computed union
    return None if hint is NoneType else hint


Respond = Callable[[Answer, Route], Awaitable[Response]]


def bind(app: Quart, groups: Sequence[Routes], engine: Callable[[], Engine], respond: Respond) -> None:
    """Give an app its routes.

    Args:
        app: the app.
        groups: the routes.
        engine: returns the running engine.
        respond: makes the response of an answer.
    """
    for group in groups:
        for route in group.routes:
            if route.method == "WEBSOCKET":
                app.add_websocket(route.rule, route.name, _socket_view(route, engine))
            else:
                app.add_url_rule(route.rule, route.name, _view(route, engine, respond), methods=[route.method])


def _view(route: Route, engine: Callable[[], Engine], respond: Respond) -> Callable[..., Awaitable[Response]]:
    async def view(**parts: str) -> Response:
        answer = await route.call(request, engine, parts)
        return await respond(answer if isinstance(answer, Answer) else Answer(answer), route)

    return view


def _socket_view(route: Route, engine: Callable[[], Engine]) -> Callable[..., Awaitable[None]]:
    async def view(**parts: str) -> None:
        await route.call(websocket, engine, parts)

    return view
