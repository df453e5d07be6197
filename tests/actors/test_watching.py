"""Jobs that run for files: each version once, when it stands still, across restarts."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from goflow_trio import DefinitionError, FileWatch, Job, open_engine
from goflow_trio.actors import watching
from goflow_trio.actors.watching import look
from goflow_trio.core import limits
from tests.actors.test_engine import KeptMemory
from tests.actors.test_scheduler import Clock
from tests.patience import SOON


def loader(folder, ran, **options):
    job = Job("load", watch=FileWatch(str(folder / "*.csv"), every=1), **options)

    @job.task
    async def work(context):
        ran.append(Path(context.params["path"]).name)

    return job


@pytest.fixture
def no_threads(monkeypatch):
    """The virtual clock does not wait for threads."""

    async def run_sync(function, *args, **options):
        await trio.lowlevel.checkpoint()
        return function(*args)

    monkeypatch.setattr(watching.trio.to_thread, "run_sync", run_sync)


async def test_each_version_of_each_file_once_across_a_restart(tmp_path, autojump_clock, no_threads):
    backend, ran, clock = KeptMemory(), [], Clock()
    (tmp_path / "a.csv").write_text("1")
    (tmp_path / "b.txt").write_text("1")
    async with open_engine(backend, jobs=[loader(tmp_path, ran)], environment=clock.world()) as engine:
        await trio.sleep(0.5)
        assert ran == [], "it may still be written"
        await trio.sleep(10)
        assert ran == ["a.csv"]
        (record,) = await engine.newest()
        assert (record.trigger, record.params["path"]) == ("file", str(tmp_path / "a.csv"))
        (tmp_path / "c.csv").write_text("2")
        await trio.sleep(5)
        (tmp_path / "a.csv").write_text("other")
        await trio.sleep(5)
        assert ran == ["a.csv", "c.csv", "a.csv"]
    (tmp_path / "d.csv").write_text("3")
    async with open_engine(backend, jobs=[loader(tmp_path, ran)], environment=clock.world()):
        await trio.sleep(5)
    assert ran == ["a.csv", "c.csv", "a.csv", "d.csv"]


async def test_what_still_grows_waits(tmp_path, autojump_clock, no_threads):
    ran = []
    async with open_engine(jobs=[loader(tmp_path, ran)], environment=Clock().world()):
        for size in range(1, 6):
            (tmp_path / "a.csv").write_text("x" * size)
            await trio.sleep(1)
            assert ran == []
        await trio.sleep(3)
        assert ran == ["a.csv"]


def test_a_look_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "WATCHED_FILES", 3)
    for number in range(9):
        (tmp_path / f"{number}.csv").touch()
    (tmp_path / "folder.csv").mkdir()
    assert len(look(str(tmp_path / "*.csv"))) <= 4
    assert look(str(tmp_path / "nothing" / "**")) == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FileWatch(""), "a path with wildcards"),
        (lambda: FileWatch("*", every=0.01), "is too often"),
        (lambda: Job("j", watch=FileWatch("*"), params={"day": ""}), "needs a parameter 'path'"),
    ],
)
def test_wrong_watches_are_refused(make, words):
    with pytest.raises(DefinitionError, match=words):
        make()


async def test_in_real_time_a_new_file_runs_its_job(tmp_path):
    ran = []
    job = Job("load", watch=FileWatch(str(tmp_path / "*"), every=0.2))
    job.task(name="work")(lambda context: ran.append(context.params["path"]))
    async with open_engine(jobs=[job]):
        (tmp_path / "new").write_text("x")
        with trio.fail_after(SOON):
            while not ran:  # noqa: ASYNC110  # a thread looks, in real time
                await trio.sleep(0.05)
