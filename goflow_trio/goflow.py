"""The facade: collects jobs and options, and serves them. Goflow's names, so that its programs port line by line."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from goflow_trio.actors.engine import Engine
from goflow_trio.actors.groups import only_error
from goflow_trio.actors.opening import JobSource, open_engine
from goflow_trio.errors import DefinitionError, EngineClosed, UsageError
from goflow_trio.jobs.job import Job, build_job
from goflow_trio.schedules.parse import has_seconds
from goflow_trio.stores import Backend, check_store_url
from goflow_trio.web.guard.settings import Security

if TYPE_CHECKING:
    from quart_trio import QuartTrio

    from goflow_trio.web.guard import Guard

logger = logging.getLogger("goflow_trio")

Middleware = Callable[[Any], Any]

_LAST_WORDS_SECONDS = 0.25
"""How long a server that stops goes on answering after the last task: who waited for that one asks for its record."""

_HANGUP = [getattr(signal, "SIGHUP")] if hasattr(signal, "SIGHUP") else []  # noqa: B009  # not on every system


class Goflow:
    """Jobs, and how to serve them.

    Args:
        store: URL of a store, or a backend object. In memory by default, as in Goflow: lost when the program ends.
        dashboard: whether the pages under `/ui/` are served.
        streaming: kept for Goflow's programs; `/stream` is always there, as it is in Goflow.
        show_examples: whether Goflow's two example jobs are added.
        with_seconds: kept for Goflow's programs: a schedule of 6 fields has seconds first, one of 5 has none,
            and both are understood. Only an explicit False refuses 6 fields.
        max_active_tasks: how many tasks run at once, see `open_engine`.
        pools: slots of named pools, see `open_engine`.
        takeover: take the store from another server that holds it, once that one's lease has run out.
        security: who may reach the server, and how: tokens, host names, TLS. By default this machine only.

    Raises:
        UsageError: the store's URL is wrong.
    """

    def __init__(
        self,
        store: str | Backend = "memory://",
        *,
        dashboard: bool = True,
        streaming: bool = True,
        show_examples: bool = False,
        with_seconds: bool | None = None,
        takeover: bool = False,
        security: Security | None = None,
        max_active_tasks: int | None = None,
        pools: Mapping[str, int] | None = None,
    ) -> None:
        check_store_url(store)
        self.store = store
        self.takeover = takeover
        self.dashboard = dashboard
        self.streaming = streaming
        self.with_seconds = with_seconds
        self.security = security or Security()
        self.max_active_tasks = max_active_tasks
        self.pools = dict(pools or {})
        self.jobs: dict[str, Job] = {}
        self._middleware: list[Middleware] = []
        self._engine: Engine | None = None
        self._app: QuartTrio | None = None
        self._guard: Guard | None = None
        if show_examples:
            from goflow_trio.examples import EXAMPLE_JOBS  # noqa: PLC0415  # only who asks for them

            for example in EXAMPLE_JOBS:
                self._register(build_job(example))

    def add_job(self, source: JobSource) -> Job:
        """Register a job, or the one that a function returns.

        Raises:
            DefinitionError: it is wrong, or its name is taken.
        """
        job = build_job(source)
        if self.with_seconds is False and any(has_seconds(text) for text in job.schedule_texts):
            raise DefinitionError(
                f"job {job.name!r}: schedule {job.schedule_text!r} has a field for seconds, which with_seconds=False "
                f"refuses; leave that option out or drop the field"
            )
        return self._register(job)

    def _register(self, job: Job) -> Job:
        if self._engine is not None:
            raise DefinitionError(f"job {job.name!r}: jobs are added before run or serve")
        if job.name in self.jobs:
            raise DefinitionError(f"two jobs are named {job.name!r}; job names are unique")
        self.jobs[job.name] = job
        return job

    def use(self, middleware: Middleware) -> None:
        """Wrap the ASGI app: `middleware(app)` returns the app that is served instead. The last one is outermost.

        All of them are behind the guard: what they answer, too, needs a token where there are tokens.
        """
        if not callable(middleware):
            raise UsageError(f"use takes a callable(app) that returns an app, got {middleware!r}")
        if self._app is not None:
            raise UsageError("the app is made already, without this middleware; call use before app, run and serve")
        self._middleware.append(middleware)

    @property
    def app(self) -> QuartTrio:
        """The Quart-Trio app, for a program that serves it itself; it answers while `engine` is open.

        Raises:
            UsageError: the token file cannot be used.
        """
        if self._app is None:
            from goflow_trio.web.app import create_app  # noqa: PLC0415  # the web stack costs a second to import
            from goflow_trio.web.guard import Guard  # noqa: PLC0415

            app = create_app(self._running, dashboard=self.dashboard)
            for middleware in self._middleware:
                app.asgi_app = middleware(app.asgi_app)  # type: ignore[method-assign]
            self._guard = Guard(app.asgi_app, self.security)
            app.asgi_app = self._guard  # type: ignore[method-assign,assignment]
            self._app = app
        return self._app

    def _running(self) -> Engine:
        if self._engine is None:
            raise EngineClosed("the engine is not running; use run(), serve() or engine()")
        return self._engine

    def engine(self, *, grace: float = 0.0) -> _Running:
        """Open the engine for the length of a block, for a program that serves `app` itself.

        Example:
            `async with gf.engine(): await hypercorn.trio.serve(gf.app, config)`
        """
        return _Running(self, grace)

    async def serve(
        self,
        bind: str = "127.0.0.1:8181",
        *,
        grace: float = 10.0,
        insecure: bool = False,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run the engine and the server until cancelled.

        Args:
            bind: `"host:port"`; `":8181"` listens on all interfaces, port 0 picks a free one.
            grace: seconds that running tasks get at the end.
            insecure: whether it may listen where others reach it though there are no tokens.
            task_status: started with the URLs it answers on, so `await nursery.start(gf.serve)` returns them.

        Raises:
            UsageError: the address, the token file or the certificate cannot be used, or others could reach it
                without a token; the store was not touched.
            StoreError: the store cannot be used.
        """
        await self._serve(bind, grace, insecure, trio.Event(), task_status)

    async def _serve(
        self, bind: str, grace: float, insecure: bool, shutdown: trio.Event, task_status: trio.TaskStatus[list[str]]
    ) -> None:
        """Serve until `shutdown`; then go on answering while running tasks end, so that who waits for one is told."""
        from goflow_trio.web.history import keep_up  # noqa: PLC0415  # see app
        from goflow_trio.web.server import listen, serve_app  # noqa: PLC0415

        tls = self.security.tls()
        exposed = insecure or self.security.asks_who_calls
        with listen(bind, exposed=exposed) as listener:  # before the store is touched
            app = self.app
            assert self._guard is not None
            async with self.engine(grace=grace) as engine, trio.open_nursery() as nursery:
                if self.dashboard:
                    nursery.start_soon(keep_up, engine)
                idle = trio.Event()

                async def stop_working() -> None:
                    await shutdown.wait()
                    busy = bool(engine.store.ledger.live)
                    await engine.stop(grace)
                    if busy:
                        await trio.sleep(_LAST_WORDS_SECONDS)
                    idle.set()

                nursery.start_soon(stop_working)
                await serve_app(
                    app, listener, shutdown=idle, at_end=self._guard.end_streams, tls=tls, task_status=task_status
                )
                nursery.cancel_scope.cancel()

    def run(
        self,
        bind: str = "127.0.0.1:8181",
        *,
        grace: float = 10.0,
        insecure: bool = False,
        announce: Callable[[str], None] = print,
    ) -> None:
        """Serve until SIGINT or SIGTERM, then end within `grace`; a second signal ends at once. Blocks.

        Args:
            bind: see `serve`.
            grace: see `serve`.
            insecure: see `serve`.
            announce: told where it listens and what its store keeps. That it cannot write is no reason not to serve.
        """
        try:
            trio.run(self._run, bind, grace, insecure, announce)
        except BaseExceptionGroup as group:
            raise only_error(group) from None

    async def _run(self, bind: str, grace: float, insecure: bool, announce: Callable[[str], None]) -> None:
        shutdown = trio.Event()
        async with trio.open_nursery() as nursery:
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, *_HANGUP) as signals:

                async def watch() -> None:
                    async for number in signals:
                        if number in _HANGUP:
                            logger.warning("the terminal is gone (SIGHUP): the server goes on; SIGTERM ends it")
                            continue
                        if shutdown.is_set():
                            nursery.cancel_scope.cancel()
                        shutdown.set()

                async def serve_then_stop(task_status: trio.TaskStatus[list[str]]) -> None:
                    await self._serve(bind, grace, insecure, shutdown, task_status)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(watch)
                urls = await nursery.start(serve_then_stop)
                engine = self._running()
                engine.store.listens_at(urls[0])
                jobs = f"{len(self.jobs)} job{'' if len(self.jobs) == 1 else 's'}"
                with suppress(OSError):  # a full disk, a pipe that nobody reads
                    announce(f"goflow-trio serves {jobs} on {', '.join(urls)}")
                    announce(f"store {_shown(self.store)}: {engine.store.backend.durability}")
                await trio.sleep_forever()


class _Running:
    """The engine of a `Goflow`, open for a block."""

    def __init__(self, goflow: Goflow, grace: float) -> None:
        self._goflow = goflow
        self._context = open_engine(
            goflow.store,
            goflow.jobs.values(),
            max_active_tasks=goflow.max_active_tasks,
            pools=goflow.pools,
            grace=grace,
            takeover=goflow.takeover,
        )

    async def __aenter__(self) -> Engine:
        self._goflow._engine = engine = await self._context.__aenter__()  # two halves of one thing
        return engine

    async def __aexit__(self, *exc_info: object) -> bool | None:
        try:
            return await self._context.__aexit__(*exc_info)  # type: ignore[arg-type]  # noqa: ASYNC102  # open_engine shields its own end
        finally:
            self._goflow._engine = None


def _shown(store: str | Backend) -> str:
    from goflow_trio.stores import hide_password  # noqa: PLC0415

    return hide_password(store) if isinstance(store, str) else type(store).__name__
