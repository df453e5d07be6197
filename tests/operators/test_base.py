"""What counts as an operator, where it runs, and what it is called with."""

import contextvars
import functools
import threading
import time

import pytest
import trio

from goflow_trio.errors import DefinitionError
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators import Function, Noop, Operator
from goflow_trio.operators.base import Prepared, call_operator, prepare
from tests.patience import AGES, SOON, until

CONTEXT = TaskContext("job", "id", "task", attempt=2)


async def call(operator, context=CONTEXT):
    return await call_operator(operator, context, limiter=trio.CapacityLimiter(2))


class AsyncRun:
    async def run(self, context):
        return context.attempt, threading.current_thread() is threading.main_thread()


class SyncRun:
    def run(self, context):
        return context.attempt, threading.current_thread() is threading.main_thread()


class GoflowRun:
    def run(self):
        return "goflow"


class AsyncGoflowRun:
    async def run(self):
        return "goflow"


class AsyncCall:
    async def __call__(self, context):
        return context.task


class SyncCall:
    def __call__(self, context):
        return context.task


async def async_function(context):
    return context.task


def sync_function(context):
    return context.task


def add(a, b, context):
    return a + b + context.attempt


async def async_add(a, b):
    return a + b


def optional(context=None):
    return context


def annotated(run: TaskContext | None = None, c: TaskContext = CONTEXT):
    return run


def by_annotation(c: TaskContext = None):
    return c


def variadic(*args):
    return args


def decorated(fn):
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        return fn(*args, **kwargs)

    return wrapper


async def test_async_run_is_awaited_in_the_loop():
    assert await call(AsyncRun()) == (2, True)


async def test_sync_run_is_called_in_a_thread():
    assert await call(SyncRun()) == (2, False)


@pytest.mark.parametrize(
    ("operator", "result"),
    [
        (GoflowRun(), "goflow"),
        (AsyncGoflowRun(), "goflow"),
        (AsyncCall(), "task"),
        (SyncCall(), "task"),
        (async_function, "task"),
        (sync_function, "task"),
        (functools.partial(add, 1, 2), 5),
        (functools.partial(async_add, 1, 2), 3),
        (functools.partial(functools.partial(add, 1), 2), 5),
        (functools.partial(AsyncCall()), "task"),
        (AsyncRun().run, (2, True)),
        (lambda: 7, 7),
        (lambda day=7: day, 7),
        (optional, CONTEXT),
        (by_annotation, CONTEXT),
        (annotated, None),
        (variadic, (CONTEXT,)),
        (decorated(async_function), "task"),
        (lambda: async_add(1, 2), 3),
        (functools.partial(time.sleep, 0), None),
        (functools.partial(print, end=""), None),
        (functools.partial(int, "7"), 7),
        (Function(sync_function), "task"),
        (Function(async_function), "task"),
        (Function(lambda: 3), 3),
        (Noop(), None),
    ],
)
async def test_every_callable_is_an_operator(operator, result):
    """The context goes to whoever asks for it, and to nobody else."""
    assert await call(operator) == result
    assert await call(prepare(operator)) == result


@pytest.mark.parametrize(
    ("operator", "words"),
    [
        (5, "an object with run(context) or a callable, got int"),
        (None, "got NoneType"),
        ("echo", "got str"),
        (AsyncRun, "got the class AsyncRun; write AsyncRun(...)"),
        (add, "needs more"),
        (lambda context, *, b: b, "needs more"),
        (lambda: (yield 1), "generator"),
    ],
)
def test_what_is_no_operator_is_refused_with_the_name_of_its_task(operator, words):
    with pytest.raises(DefinitionError) as caught:
        prepare(operator, task="x")
    assert str(caught.value).startswith("task 'x': operator ")
    assert words in str(caught.value)


def test_an_object_whose_run_is_no_function_is_refused():
    class Holder:
        run = 5

    with pytest.raises(DefinitionError, match="got Holder"):
        prepare(Holder())


def test_prepare_decides_once():
    assert prepare(AsyncRun()).asynchronous
    assert prepare(AsyncRun()).takes_context
    assert not prepare(GoflowRun()).takes_context
    assert isinstance(prepare(GoflowRun()), Prepared)


def test_the_protocol_is_met_by_what_we_ship():
    assert isinstance(Noop(), Operator)
    assert isinstance(Function(sync_function), Operator)


def test_function_refuses_what_cannot_be_called():
    with pytest.raises(DefinitionError, match="got int"):
        Function(5)


async def test_contextvars_reach_the_thread():
    variable = contextvars.ContextVar("variable")
    variable.set("seen")
    assert await call(variable.get) == "seen"


async def test_what_the_work_raises_passes_through():
    def leave():
        raise SystemExit(3)

    async def fail():
        raise KeyError("x")

    with pytest.raises(SystemExit):
        await call(leave)
    with pytest.raises(KeyError):
        await call(fail)


async def test_cancelling_a_sync_operator_abandons_its_thread():
    """The attempt ends at once; the thread goes on, keeps its slot, and its result is dropped."""
    release = threading.Event()
    limiter = trio.CapacityLimiter(1)
    with trio.fail_after(SOON), trio.move_on_after(0.1) as scope:
        await call_operator(lambda: release.wait(AGES), CONTEXT, limiter=limiter)
    assert scope.cancelled_caught
    assert limiter.borrowed_tokens == 1
    release.set()
    await until(lambda: not limiter.borrowed_tokens)


async def test_calling_a_noop_costs_little():
    """Under 2 µs over awaiting it directly; the bound here is loose, for a busy machine."""
    limiter, operator = trio.CapacityLimiter(1), prepare(Noop())
    rounds = 20_000
    started = time.thread_time()
    for _ in range(rounds):
        await call_operator(operator, CONTEXT, limiter=limiter)
    assert (time.thread_time() - started) / rounds < 100e-6
