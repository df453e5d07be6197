"""What attempts print: kept, streamed, read by ranges; while they run, afterwards and after a restart."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
import trio

from goflow_trio import Command, ConstantDelay, Job, Task, UsageError, WaitFor, open_engine
from goflow_trio.actors import outputs
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.core import limits
from goflow_trio.errors import StoreUnavailable, UnknownExecution, UnknownTask
from goflow_trio.stores.memory import MemoryBackend
from tests.patience import SOON

START = datetime(2026, 1, 1, tzinfo=UTC)


class KeptMemory(MemoryBackend):
    """Memory that survives its engine, as a disk would; and that can refuse writes of output."""

    refuses = False
    largest = 0

    async def put(self, items):
        if any(key.startswith("output/") for key in items):
            self.largest = max(self.largest, sum(map(len, items.values())))
            if self.refuses:
                raise StoreUnavailable("full")
        await super().put(items)

    async def aclose(self):
        await trio.lowlevel.checkpoint()

    def blocks(self):
        return sorted(key for key in self._values if key.startswith("output/"))


def world():
    return virtual_environment(START)


def job_of(work, name="job", **options):
    job = Job(name)
    job.add(Task("t", work, **options))
    return job


async def output_of(work, store="memory://", **options):
    """Run one task; return the slice of all that is kept in one piece."""
    async with open_engine(store, [job_of(work, **options)], environment=world()) as engine:
        execution = await engine.submit("job")
        await execution.wait()
        return await engine.output(execution.id, "t")


async def test_all_that_a_task_says_is_kept_with_its_stream_and_its_time(autojump_clock):
    async def work(context):
        context.log("one")
        await trio.sleep(1)
        context.write("two ", "stdout")
        context.write(b"\xff\x00", "stderr")
        raise ValueError("three")

    part = await output_of(work)
    head = b"one\ntwo \xff\x00"
    assert part.data.startswith(head + b"Traceback")
    assert part.data.endswith(b"ValueError: three\n")
    assert (part.attempt, part.offset, part.finished, part.truncated) == (1, 0, True, False)
    assert part.total == part.next_offset == len(part.data)
    assert part.kept == ((0, part.total),)
    pieces = [(p.offset, p.size, p.stream, (p.at - START).total_seconds()) for p in part.pieces]
    assert pieces == [
        (0, 4, "log", 0),
        (4, 4, "stdout", 1),
        (8, 2, "stderr", 1),
        (10, part.total - 10, "error", 1),
    ]


async def test_a_command_is_kept_binary_and_says_why_it_failed():
    job = job_of(Command('printf "a\\377\\000"; sleep 0.1; echo no >&2; exit 3', shell=True))
    async with open_engine(jobs=[job]) as engine:
        execution = await engine.submit("job")
        record = await execution.wait()
        part = await engine.output(execution.id, "t")
    assert part.data.startswith(b"a\xff\x00no\nCommandFailed: command ")
    assert [piece.stream for piece in part.pieces] == ["stdout", "stderr", "error"]
    assert record.tasks["t"].error.type == "CommandFailed"


async def test_each_attempt_has_its_own(autojump_clock):
    async def work(context):
        context.log(f"try {context.attempt}")
        if context.attempt < 3:
            raise ValueError

    job = job_of(work, retries=2, retry_delay=ConstantDelay(1))
    async with open_engine(jobs=[job], environment=world()) as engine:
        execution = await engine.submit("job")
        await execution.wait()
        assert (await engine.output(execution.id, "t")).data == b"try 3\n"
        assert (await engine.output(execution.id, "t", attempt=1)).data.startswith(b"try 1\nTraceback")
        for attempt in (0, 4):
            with pytest.raises(UsageError, match=f"has no attempt {attempt}; its attempts are 1 to 3"):
                await engine.output(execution.id, "t", attempt=attempt)
        with pytest.raises(UnknownTask, match="no task 'x'"):
            await engine.output(execution.id, "x")
        with pytest.raises(UnknownExecution):
            await engine.output("x", "t")
        with pytest.raises(UsageError, match="limit must be 0 or more"):
            await engine.output(execution.id, "t", limit=-1)


async def test_it_is_read_by_ranges_while_it_runs_and_streamed_live(autojump_clock):
    go_on = trio.Event()

    async def work(context):
        context.log("zwölf")
        await go_on.wait()
        context.log("end")

    job = job_of(work)
    job.add(Task("later", lambda: None)) << job["t"]
    async with open_engine(jobs=[job], environment=world()) as engine, engine.subscribe() as events:
        execution = await engine.submit("job")
        async for event in events:
            if event.type == "task.output":
                break
        assert (event.text, event.stream, event.offset, event.size) == ("zwölf\n", "log", 0, 7)
        part = await engine.output(execution.id, "t", offset=1, limit=4)
        assert (part.data, part.offset, part.total, part.finished) == ("wöl".encode(), 1, 7, False)
        assert (await engine.output(execution.id, "t", tail=2)).data == b"f\n"
        assert (part.line, (await engine.output(execution.id, "t", offset=7)).line) == (1, 2)
        assert (await engine.output(execution.id, "t", offset=99)).data == b""
        nothing = await engine.output(execution.id, "later")
        assert (nothing.attempt, nothing.total, nothing.finished) == (0, 0, False)
        go_on.set()
        kinds = []
        async for event in events:
            kinds.append(event.type)
            if event.type == "execution.finished":
                break
        assert kinds.index("task.output") < kinds.index("task.succeeded")
        assert (await engine.output(execution.id, "t", offset=part.total)).data == b"end\n"


async def test_a_flood_keeps_its_ends_costs_few_events_and_few_writes(autojump_clock):
    store = KeptMemory()
    chunk = bytes(range(250)) * 400

    async def work(context):
        context.write(b"first")
        for _ in range(1000):
            context.write(chunk)
            await trio.sleep(0.001)
        context.write(b"last")

    events = []
    async with open_engine(store, [job_of(work)], environment=world()) as engine, engine.subscribe() as feed:
        execution = await engine.submit("job")
        async for event in feed:
            if event.type == "task.output":
                events.append(event)
            if event.type == "execution.finished":
                break
        part = await engine.output(execution.id, "t")
        assert part.total == 100_000_009
        assert part.truncated
        assert part.data.startswith(b"first\x00\x01")
        assert len(part.data) == limits.OUTPUT_HEAD_BYTES
        end = await engine.output(execution.id, "t", offset=part.next_offset)
        assert end.offset > part.next_offset
        assert end.offset <= part.total - limits.OUTPUT_TAIL_BYTES
        assert end.data.endswith(b"last")
        assert end.next_offset == part.total
        assert (await engine.output(execution.id, "t", tail=3)).data == b"ast"
    assert len(events) < 1.5 / outputs.PACE
    assert max(len(event.text) for event in events) <= limits.OUTPUT_EVENT_BYTES
    assert events[-1].offset + events[-1].size == part.total
    assert store.largest < 0.5 * 1024 * 1024
    assert len(store.blocks()) <= 2 * 17 + 1


async def test_it_is_there_after_a_restart(autojump_clock):
    store = KeptMemory()

    async def work(context):
        context.write(b"x" * 2_999_999 + b"\n")
        context.log("end")

    async with open_engine(store, [job_of(work)], environment=world()) as engine:
        execution = await engine.submit("job")
        await execution.wait()
        before = await engine.output(execution.id, "t", tail=9)
    async with open_engine(store, environment=world()) as engine:
        after = await engine.output(execution.id, "t", tail=9)
        assert (after.data, after.total, after.kept, after.truncated) == (
            before.data,
            before.total,
            before.kept,
            before.truncated,
        )
        assert after.data == b"xxxx\nend\n"
        assert (before.line, after.line) == (1, 1)
        assert (await engine.output(execution.id, "t", tail=3)).line == 2
        assert after.finished
        first = await engine.output(execution.id, "t", limit=2)
        assert first.data == b"xx"


async def test_what_was_kept_before_a_crash_is_there_and_the_attempt_is_over(autojump_clock):
    store = KeptMemory()

    async def work(context):
        context.log("begun")
        await trio.sleep(2)
        if context.attempt == 1:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        async with open_engine(store, [job_of(work, retries=1)], environment=world()) as engine:
            execution = await engine.submit("job")
            await trio.sleep(1.5)
            assert len(store.blocks()) == 1
        nursery.cancel_scope.cancel()
    async with open_engine(store, [job_of(work, retries=1)], environment=world()) as engine:
        await engine.execution(execution.id).wait()
        cut = await engine.output(execution.id, "t", attempt=1)
        assert (cut.data, cut.finished) == (b"begun\n", True)


async def test_a_store_that_refuses_output_costs_the_task_nothing_and_gets_it_later(autojump_clock):
    store = KeptMemory()
    store.refuses = True

    async def work(context):
        context.log("said")

    async with open_engine(store, [job_of(work)], environment=world()) as engine:
        execution = await engine.submit("job")
        assert (await execution.wait()).state == "successful"
        await trio.sleep(10)
        assert (await engine.output(execution.id, "t")).data == b"said\n"
        assert store.blocks() == []
        store.refuses = False
        await trio.sleep(10)
        assert len(store.blocks()) == 1
        assert (await engine.output(execution.id, "t")).data == b"said\n"


async def test_what_waits_for_a_store_is_bounded(autojump_clock, monkeypatch, caplog):
    monkeypatch.setattr(limits, "OUTPUT_UNSAVED_BYTES", 250)
    store = KeptMemory()
    store.refuses = True

    async def work(context):
        context.write("x" * 100)

    async with open_engine(store, [job_of(work)], environment=world()) as engine:
        ids = []
        for _ in range(4):
            execution = await engine.submit("job")
            await execution.wait()
            ids.append(execution.id)
        await trio.sleep(10)
        assert [(await engine.output(each, "t")).total for each in ids] == [0, 0, 100, 100]
        store.refuses = False
    assert "its output is given up" in caplog.text


async def test_a_task_that_says_nothing_costs_no_key(autojump_clock):
    store = KeptMemory()
    part = await output_of(lambda: None, store)
    assert (part.attempt, part.total, part.finished) == (1, 0, True)
    assert store.blocks() == []


async def test_a_damaged_block_is_a_gap(autojump_clock, caplog):
    store = KeptMemory()

    async def work(context):
        context.write(b"a" * limits.OUTPUT_BLOCK_BYTES + b"b" * limits.OUTPUT_BLOCK_BYTES)

    async with open_engine(store, [job_of(work)], environment=world()) as engine:
        execution = await engine.submit("job")
        await execution.wait()
    first, _ = store.blocks()
    await store.put({first: b"junk"})
    async with open_engine(store, environment=world()) as engine:
        part = await engine.output(execution.id, "t")
    assert part.data == b"b" * limits.OUTPUT_BLOCK_BYTES
    assert part.offset == limits.OUTPUT_BLOCK_BYTES
    assert part.truncated
    assert "a part of a task's output is lost" in caplog.text


async def test_pythons_logging_goes_to_the_task_that_logs_from_threads_too():
    noisy = logging.getLogger("somebodys.library")
    noisy.setLevel(logging.INFO)
    gate = threading.Barrier(2)
    job = Job("logs")

    @job.task
    def in_a_thread():
        gate.wait(SOON)
        noisy.info("thread %d", 1)
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            noisy.exception("trouble")

    @job.task
    def in_another():
        gate.wait(SOON)
        noisy.warning("another")

    @job.task
    async def nested():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, noisy.info, "deep")

    async with open_engine(jobs=[job]) as engine:
        noisy.info("outside")
        execution = await engine.submit("logs")
        await execution.wait()
        said = {name: (await engine.output(execution.id, name)).data.decode() for name in execution.record.tasks}
    assert said["in_a_thread"].startswith("INFO somebodys.library: thread 1\nERROR somebodys.library: trouble\nTraceb")
    assert said["in_another"] == "WARNING somebodys.library: another\n"
    assert said["nested"] == "INFO somebodys.library: deep\n"


def test_logging_is_as_it_was_after_the_engine_and_unconfigured_logging_behaves():
    """In a fresh process: pytest has handlers of its own at the root."""
    code = """
import logging, sys, trio
before = sys.stdout, sys.stderr
from goflow_trio import Job, open_engine
job = Job("j")
@job.task
async def t():
    print("printed", 1, flush=True)
    sys.stderr.writelines(["a\\n", "b\\n"])
    logging.info("info of a task")
    logging.warning("warning of a task")
async def main():
    async with open_engine(jobs=[job]) as one, open_engine(jobs=[job]) as two:
        logging.warning("outside")
        print("outside", sys.stdout.encoding == before[0].encoding)
        logging.info("hidden")
        execution = await two.submit("j")
        await execution.wait()
        print((await two.output(execution.id, "t")).data)
trio.run(main)
print(logging.root.handlers, logging.root.level, before == (sys.stdout, sys.stderr))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "outside True",
        repr(b"printed 1\na\nb\nINFO root: info of a task\nWARNING root: warning of a task\n"),
        "[] 30 True",
    ]
    assert done.stderr == "outside\n"


async def test_a_thread_that_floods_is_bounded_and_one_that_is_abandoned_is_not_heard(mock_clock):
    written, release, done = threading.Event(), threading.Event(), threading.Event()

    def work(context):
        for _ in range(20_000):
            context.write(b"0123456789" * 20)
        written.set()
        release.wait(SOON)
        context.log("too late")
        done.set()

    async with open_engine(jobs=[job_of(work, timeout=2)], environment=world()) as engine:
        execution = await engine.submit("job")
        await trio.to_thread.run_sync(written.wait)
        mock_clock.jump(3)
        record = await execution.wait()
        release.set()
        await trio.to_thread.run_sync(done.wait, SOON)
        end = await engine.output(execution.id, "t", tail=100)
    last = b"TimeoutError: it took longer than 2 s; its thread cannot be stopped and goes on\n"
    assert record.tasks["t"].reason == "abandoned"
    assert end.total == 4_000_000 + len(last)
    assert (last + b"9").startswith(end.data[-len(last) :])


async def test_a_wait_that_goes_on_after_a_restart_goes_on_with_its_output(autojump_clock):
    store = KeptMemory()
    begun = []

    async def is_there(context):
        begun.append(1)
        context.log(f"asked {len(begun)}")
        return len(begun) > 4

    job = job_of(WaitFor(is_there, every=10))
    async with open_engine(store, [job], environment=world()) as engine:
        execution = await engine.submit("job")
        await trio.sleep(15)
    async with open_engine(store, [job], environment=world()) as engine:
        await engine.execution(execution.id).wait()
        whole = await engine.output(execution.id, "t")
        assert whole.data == b"".join(b"asked %d\n" % number for number in range(1, 6))
        assert whole.attempt == 1
    async with open_engine(store, [job], environment=world()) as engine:
        assert (await engine.output(execution.id, "t")).data == whole.data


async def test_of_many_reports_of_progress_the_last_is_told(autojump_clock):
    async def work(context):
        for number in range(10_000):
            context.progress(number, 10_000)
            if not number % 1000:
                await trio.sleep(0.01)
        context.progress(10_000, 10_000)

    told = []
    async with open_engine(jobs=[job_of(work)], environment=world()) as engine, engine.subscribe() as feed:
        await engine.submit("job")
        async for event in feed:
            if event.type == "task.progress":
                told.append(event.done)
            if event.type == "execution.finished":
                break
    assert told == sorted(told)
    assert told[-1] == 10_000
    assert len(told) <= 5
