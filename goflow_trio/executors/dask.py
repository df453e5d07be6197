"""Dask: a cluster of workers on as many machines as there are. The only file that knows its client.

The client has a loop and threads of its own, so all that is asked of it is asked in a thread; that a call is done comes
back as a callback. Its exceptions are mapped here: a scheduler that cannot be reached, or is lost with all that
it was to do, is `ExecutorUnavailable`; a worker that died with the call is `WorkerLost`.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from goflow_trio.errors import DefinitionError, ExecutorUnavailable, OperatorError, WorkerLost
from goflow_trio.executors.base import check_extra
from goflow_trio.executors.parcel import check_travels, pack, run_packed, unpack
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators.base import Prepared
from goflow_trio.operators.toll import current_toll

if TYPE_CHECKING:
    from distributed import Client, Future

_Result = TypeVar("_Result")

CANCELLING: Final = 5.0
"""Seconds that a cancel may take, with the question whether the call goes on."""

CLOSING: Final = 10.0
"""Seconds that closing the client may take."""

_THREADS: Final = 32


class Dask:
    """Run plain functions on a Dask cluster: `Task("crunch", crunch, executor=Dask("tcp://scheduler:8786"))`.

    An attempt is run at most once: when its worker dies, it fails as `WorkerLost`, and whether to try again is the
    task's `retries` to say. Dask cannot stop what has begun: what is cancelled before that never begins; else it goes
    on to its end, and the attempt says so (its reason is `abandoned`). The first attempt connects, the engine's end
    disconnects; the cluster is yours. Scheduler and workers need goflow-trio too. Needs the extra `dask`.

    Args:
        address: of the scheduler, as its workers are given it.
        timeout: seconds that connecting may take.
    """

    def __init__(self, address: str, *, timeout: float = 30.0) -> None:
        if "://" not in address:
            raise DefinitionError(f"Dask takes its scheduler's address, as in 'tcp://127.0.0.1:8786', got {address!r}")
        self._address = address
        self._timeout = timeout
        self._client: Client | None = None
        self._connecting = trio.Lock()
        self._limiter = trio.CapacityLimiter(_THREADS)

    def check(self, work: Prepared, task: str) -> None:
        """Refuse a coroutine function, and what cannot be sent to another process."""
        check_extra("distributed", "dask", task)
        check_travels(work, task)

    async def run(self, work: Prepared, context: TaskContext) -> Any:
        """Call it on some worker."""
        data = pack(work, context)
        client = await self._connected()
        try:
            future = await self._ask(_submit, client, context.task, data)
        except Exception as error:
            raise self._unavailable("takes no work", error) from error
        await self._until_done(client, future)
        return unpack(await self._answer(future), context)

    async def _ask(self, call: Callable[..., _Result], *arguments: Any, abandon: bool = False) -> _Result:
        return await trio.to_thread.run_sync(call, *arguments, limiter=self._limiter, abandon_on_cancel=abandon)

    def _unavailable(self, what: str, error: BaseException) -> ExecutorUnavailable:
        text = " ".join(str(error).split())
        return ExecutorUnavailable(f"the Dask scheduler at {self._address} {what}: {type(error).__name__}: {text}")

    # Connecting -------------------------------------------------------------------------------------

    async def _connected(self) -> Client:
        """Return the client; connect if there is none, or if it has lost its scheduler."""
        async with self._connecting:
            if self._client is not None and self._client.status != "running":
                await self.aclose()
            if self._client is None:
                gone = threading.Event()
                try:
                    self._client = await self._ask(_connect, self._address, self._timeout, gone, abandon=True)
                except trio.Cancelled:
                    gone.set()
                    raise
                except Exception as error:
                    raise self._unavailable("cannot be reached", error) from error
            return self._client

    async def aclose(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            with trio.move_on_after(CLOSING, shield=True):
                await self._ask(_close, client, abandon=True)

    # Waiting ----------------------------------------------------------------------------------------

    async def _until_done(self, client: Client, future: Future) -> None:
        """Wait for a call; when this is cancelled, cancel it, and count it if it goes on all the same."""
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def ring(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(done.set)

        future.add_done_callback(ring)
        try:
            await done.wait()
        except trio.Cancelled:
            goes_on = True  # unless we hear otherwise
            with trio.move_on_after(CANCELLING, shield=True):
                goes_on = await self._ask(_cancel, client, future, abandon=True)
            toll = current_toll.get()
            if goes_on and toll is not None:
                toll.elsewhere += 1
            raise

    async def _answer(self, future: Future) -> bytes:
        """Return what came of a call that is done, as bytes; map what is Dask's own."""
        from distributed import KilledWorker  # noqa: PLC0415  # an extra

        status = future.status
        if status == "cancelled":  # we did not: the client does, when its scheduler is gone
            raise ExecutorUnavailable(
                f"the Dask scheduler at {self._address} was lost before the work was done, or the work cancelled there"
            )
        if status == "lost":
            raise WorkerLost("the Dask worker died before it could hand over what the work returned")
        try:
            answer: bytes = await self._ask(future.result, abandon=True)
        except KilledWorker as error:
            raise WorkerLost(f"the Dask worker {error.last_worker.address} died before the work was done") from None
        except Exception as error:
            what = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise OperatorError(f"Dask could not run the work: {what}; its workers need goflow-trio too") from error
        finally:
            future.release()
        return answer

    def __repr__(self) -> str:
        return f"Dask({self._address!r})"


# In threads -----------------------------------------------------------------------------------------


def _connect(address: str, timeout: float, gone: threading.Event) -> Client:
    from distributed import Client  # noqa: PLC0415  # an extra, and it takes seconds

    from goflow_trio.executors.dask_once import RunOnce  # noqa: PLC0415

    client = Client(address, timeout=timeout, set_as_default=False, name="goflow-trio")
    try:
        client.register_plugin(RunOnce())
    except BaseException:
        client.close()
        raise
    if gone.is_set():  # nobody waits for it any more
        client.close()
    return client


def _close(client: Client) -> None:
    with suppress(Exception):  # of a scheduler that is gone
        client.close(timeout=CLOSING / 2)


def _submit(client: Client, task: str, data: bytes) -> Future:
    from goflow_trio.executors.dask_once import PREFIX  # noqa: PLC0415

    # A key of its own, and impure: Dask would hand out an old result for an equal call.
    return client.submit(run_packed, data, key=f"{PREFIX}{task}-{uuid.uuid4().hex}", pure=False, retries=0)


def _cancel(client: Client, future: Future) -> bool:
    """Cancel a call; return whether it goes on all the same: then a worker still has it on its stack."""
    if future.done():
        return False
    future.cancel(force=True)
    stacks = client.call_stack()
    return any(future.key in calls for calls in stacks.values())
