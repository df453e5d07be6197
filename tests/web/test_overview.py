"""The compact answers: what they say is what the long ones say, and they stay true while things happen."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from httpx2 import AsyncClient

from goflow_trio import ConstantDelay, Goflow, Job, Noop, Task
from goflow_trio.actors.engine import Engine
from goflow_trio.core.messages import ScheduleMissed
from goflow_trio.web import runs
from goflow_trio.web.history import KEPT, coded, history_of, sum_up
from tests.patience import SOON
from tests.web.test_api import ended, submit


def jobs():
    chain = Job("chain", schedule="0 3 * * *", active=True, timezone="Europe/Berlin", tags=["etl"], params={"day": 1})
    first, second = chain.add(Task("first", Noop())), chain.add(Task("second", Noop()))
    first >> second
    fails = Job("fails", description="always")
    fails.add(Task("good", Noop())) >> fails.add(Task("bad", lambda context: 1 / (context.attempt - 1)))
    retries = Job("retries")
    retries.add(Task("again", lambda: 1 / 0, retries=1, retry_delay=ConstantDelay(3600)))
    return chain, fails, retries


@asynccontextmanager
async def serving(store="memory://", opened=None):
    gf = Goflow(store)
    for job in jobs():
        gf.add_job(job)
    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(lambda task_status: gf.serve("127.0.0.1:0", grace=0, task_status=task_status))
            async with AsyncClient(base_url=url) as client:
                if opened is not None:
                    opened.append(gf._running())
                yield client
            nursery.cancel_scope.cancel()


async def read(client, path):
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_overview_has_each_job_in_one_line_and_follows_what_happens():
    async with serving() as client:
        before = await read(client, "/api/overview")
        assert [job["name"] for job in before["jobs"]] == ["chain", "fails", "retries"]
        chain = before["jobs"][0]
        assert (chain["states"], chain["took"]) == ("", "")
        assert chain.keys().isdisjoint({"last", "live", "description", "late"}), "what has its default is left out"
        assert (chain["active"], chain["tags"], chain["timezone"], chain["params"]) == (
            True,
            ["etl"],
            "Europe/Berlin",
            1,
        )
        assert chain["next"].endswith("Z")
        for _ in range(2):
            await ended(client, await submit(client, "chain"))
        failed = await submit(client, "fails")
        await ended(client, failed)
        after = await read(client, "/api/overview")
        assert after["seq"] > before["seq"]
        assert (after["started"], after["build"]) == (before["started"], before["build"])
        chain, fails, _ = after["jobs"]
        assert (chain["states"], len(chain["took"])) == ("ss", 4)
        assert (fails["states"], fails["last"]) == ("f", failed)
        assert fails["failure"] == {
            "id": failed,
            "task": "bad",
            "type": "ZeroDivisionError",
            "message": "division by zero",
        }


def read_length(text):
    """Return the seconds that two characters stand for, read as the description of `took` says."""
    digits = [chr(code) for code in range(ord("#"), ord("~") + 1) if chr(code) != "\\"]
    exponent, rest = divmod(digits.index(text[0]) * 91 + digits.index(text[1]), 900)
    return (rest + 100) * 10 ** (exponent - 5)


@pytest.mark.parametrize("seconds", [0.001, 0.0463, 0.999, 1, 9.99, 41.2, 59.96, 230, 4_120, 86_400, 604_800, 999_000])
def test_lengths_of_two_characters_have_three_digits(seconds):
    assert read_length(coded(seconds)) == pytest.approx(float(f"{seconds:.3g}"))
    assert len(coded(seconds)) == len(coded(None)) == 2


def test_lengths_beyond_the_code_are_its_first_and_its_last():
    assert read_length(coded(0)) == read_length(coded(1e-6)) == pytest.approx(0.001)
    assert read_length(coded(1e9)) == pytest.approx(999_000)


async def test_a_run_that_waits_to_retry_says_so():
    async with serving() as client:
        execution = await submit(client, "retries")
        while (line := (await read(client, "/api/overview"))["jobs"][2])["states"] != "u":  # noqa: ASYNC110  # over HTTP there is only asking again
            await trio.sleep(0.01)
        (live,) = line["live"]
        assert (live["id"], live["retrying"], live["done"], live["total"]) == (execution, ["again"], 0, 1)
        assert (await read(client, "/api/runs?state=upforretry"))["runs"][0]["id"] == execution


async def test_runs_are_found_by_what_they_are_and_by_their_error():
    async with serving() as client:
        good, bad = await submit(client, "chain"), await submit(client, "fails")
        for execution in (good, bad):
            await ended(client, execution)
        answer = await read(client, "/api/runs")
        assert [run["id"] for run in answer["runs"]] == [bad, good]
        assert (answer["counts"], answer["complete"], answer["next"]) == ({"failed": 1, "successful": 1}, True, None)
        assert answer["runs"][0]["failure"]["task"] == "bad"
        for query, found in (
            ("state=failed", [bad]),
            ("state=failed,successful", [bad, good]),
            ("job=chain", [good]),
            ("tag=etl", [good]),
            ("trigger=schedule", []),
            ("search=ZERO", [bad]),
            (f"ids={good},{bad},no", [bad, good]),
            (f"ids={good},{bad}&state=failed", [bad]),
            (f"search={good[-8:]}", [good]),
            ("since=2000-01-01T00:00:00Z", [bad, good]),
            ("since=2000-01-01T00:00:00+01:00", [bad, good]),
            ("until=2000-01-01T00:00:00Z", []),
        ):
            assert [run["id"] for run in (await read(client, f"/api/runs?{query}"))["runs"]] == found, query
        first = await read(client, "/api/runs?limit=1")
        second = await read(client, f"/api/runs?limit=1&cursor={first['next']}")
        assert [run["id"] for run in first["runs"] + second["runs"]] == [bad, good]


async def test_runs_beyond_those_looked_at_are_reached_and_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(runs, "SCANNED", 3)
    async with serving() as client:
        old = await submit(client, "retries")  # unfinished for an hour
        done = [await submit(client, name) for name in ("fails", "chain", "chain", "chain")]
        for execution in done:
            await ended(client, execution)
        first = await read(client, "/api/runs?state=failed")
        assert (first["runs"], first["scanned"], first["complete"]) == ([], 3, False)
        assert first["counts"] == {"successful": 3, "upforretry": 1}, "what is unfinished is counted however old it is"
        second = await read(client, f"/api/runs?state=failed&cursor={first['next']}")
        assert [run["id"] for run in second["runs"]] == done[:1]
        assert (second["complete"], second["next"]) == (True, None)
        waiting = await read(client, "/api/runs?state=upforretry,running")
        assert ([run["id"] for run in waiting["runs"]], waiting["next"]) == ([old], None)
        all_of_them, cursor = [], ""
        while cursor is not None:
            page = await read(client, f"/api/runs?limit=2&cursor={cursor}")
            all_of_them += [run["id"] for run in page["runs"]]
            cursor = page["next"]
        assert all_of_them == [*reversed(done), old]


@pytest.mark.parametrize(
    "query", ["state=broken", "since=yesterday", "since=2026-01-01T00:00:00", "limit=0", "limit=501"]
)
async def test_a_query_that_cannot_be_meant_is_refused(query):
    async with serving() as client:
        answer = await client.get(f"/api/runs?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_the_grid_has_a_letter_for_each_task_of_each_run():
    async with serving() as client:
        execution = await submit(client, "fails")
        await ended(client, execution)
        grid = await read(client, "/api/jobs/fails/grid")
        assert [task["name"] for task in grid["tasks"]] == ["good", "bad"]
        assert [(task["successful"], task["failed"]) for task in grid["tasks"]] == [(1, 0), (0, 1)]
        assert (grid["dag"], grid["registered"]) == ({"good": ["bad"], "bad": []}, True)
        assert [(run["id"], run["cells"]) for run in grid["runs"]] == [(execution, "sf")]
        assert grid["tasks"][0]["definition"]["operator"] == "Noop()"
        assert (await client.get("/api/jobs/nope/grid")).status_code == 404
        chain = await read(client, "/api/jobs/chain/grid")
        assert (chain["runs"], len(chain["definition"]["next"])) == ([], 5)


async def test_the_calendar_counts_by_the_days_of_a_zone():
    async with serving() as client:
        await ended(client, await submit(client, "fails"))
        answer = await read(client, "/api/jobs/fails/calendar?days=2&zone=Pacific/Kiritimati")
        assert [day["states"] for day in answer["days"]] == [{"failed": 1}]
        refused = await client.get("/api/jobs/fails/calendar?zone=Middle/Earth")
        assert (refused.status_code, "Middle/Earth" in refused.json()["detail"]) == (400, True)
        assert (await client.get("/api/jobs/chain/calendar")).json()["days"] == []


async def test_an_execution_in_its_context_knows_its_neighbours_and_who_failed_alike():
    async with serving() as client:
        ids = []
        for _ in range(3):
            ids.append(await submit(client, "fails"))
            await ended(client, ids[-1])
        context = await read(client, f"/api/executions/{ids[1]}/context")
        assert context["execution"] == await read(client, f"/api/executions/{ids[1]}")
        assert (context["previous"], context["next"]) == (ids[0], ids[2])
        assert (context["alike"], context["compared"]) == ([ids[0]], 1)
        assert list(context["medians"]) == ["good"], "what never was good has no median"
        assert context["medians"]["good"] >= 0
        assert context["dag"] == {"good": ["bad"], "bad": []}
        assert context["definitions"]["bad"]["trigger_rule"] == "allSuccessful"
        assert (await client.get("/api/executions/nope/context")).status_code == 404


async def test_a_job_that_is_not_there_names_those_that_are_near():
    async with serving() as client:
        for route in ("grid", "calendar", "next", "stats", "backfills"):
            answer = await client.get(f"/api/jobs/chian/{route}")
            assert (answer.status_code, answer.json()["detail"].partition("; ")[2]) == (404, "did you mean 'chain'?")
        assert "did you mean" not in (await client.get("/api/jobs/zzz/grid")).json()["detail"]


async def test_the_system_says_what_comes_next_and_what_keeps_failing():
    async with serving() as client:
        for _ in range(2):
            await ended(client, await submit(client, "fails"))
        system = await read(client, "/api/system")
        assert (system["state"], system["jobs"], system["executions"]["used"]) == ("ok", 3, 0)
        assert [tick["job"] for tick in system["ticks"]] == ["chain"] * 3
        assert [(job["job"], job["times"]) for job in system["failing"]] == [("fails", 2)]
        assert system["store"]["bytes"] is None, "it is in memory"


async def test_the_system_and_the_metrics_say_how_large_the_store_is(tmp_path):
    async with serving(f"sqlite:///{tmp_path}/state.db") as client:
        await ended(client, await submit(client, "chain"))
        size = (await read(client, "/api/system"))["store"]["bytes"]
        assert size >= 4096
        metrics = (await client.get("/metrics")).text
        assert float(metrics.partition("\ngoflow_store_bytes ")[2].split()[0]) >= size


async def test_the_history_keeps_the_latest_runs_whatever_was_told_meanwhile():
    async with serving() as client:
        await read(client, "/api/overview")
        ids = [await submit(client, "chain") for _ in range(KEPT + 5)]
        for execution in ids:
            await ended(client, execution)
        line = (await read(client, f"/api/overview?runs={KEPT}"))["jobs"][0]
        assert line["states"] == "s" * KEPT
        assert line["last"] == ids[-1]


async def test_a_server_that_starts_reads_the_latest_runs_before_somebody_asks(tmp_path, monkeypatch, patient):
    store = f"sqlite:///{tmp_path}/state.db"
    async with serving(store) as client:
        for name in ("chain", "fails"):
            await ended(client, await submit(client, name))
        await trio.sleep(0.05)
    opened = []
    async with serving(store, opened) as client:
        (engine,) = opened
        while len(history_of(engine)._runs) < 3:  # noqa: ASYNC110  # nobody is told
            await trio.sleep(0.01)

        async def never(*_):
            raise AssertionError("the store is read again")

        monkeypatch.setattr(Engine, "newest", never)
        assert [job["states"] for job in (await read(client, "/api/overview"))["jobs"]] == ["s", "f", ""]


def test_a_failure_is_the_first_one_and_its_fingerprint_leaves_numbers_out():
    from datetime import UTC, datetime, timedelta

    from goflow_trio.core.messages import TaskError
    from goflow_trio.core.record import AttemptRecord, ExecutionRecord, TaskRecord
    from goflow_trio.core.states import State

    start = datetime(2026, 1, 1, tzinfo=UTC)

    def failed(name, seconds, message):
        end = start + timedelta(seconds=seconds)
        attempt = AttemptRecord(1, start, end, State.FAILED, TaskError("OSError", message, ""))
        return TaskRecord(name, State.FAILED, attempts=[attempt], finished=end)

    tasks = [failed("later", 9, "x"), failed("first", 1, "\nport 80 is closed\nmore")]
    record = ExecutionRecord("e", "job", start, State.FAILED, {task.name: task for task in tasks})
    failure = sum_up(record).failure
    assert (failure.task, failure.message) == ("first", "port 80 is closed")
    assert failure.fingerprint == "first\nOSError\nport # is closed"


async def test_missed_instants_stand_in_their_place_among_the_runs_and_a_run_says_how_often_it_was_run_again():
    async with serving() as client:
        failed = await submit(client, "fails")
        await ended(client, failed)
        await client.post(f"/api/executions/{failed}/retry")
        await ended(client, failed)
        (run,) = (await read(client, "/api/jobs/fails/grid"))["runs"]
        assert (run["reopened"], run["attempts"]) == (1, 2)
        assert (await read(client, "/api/jobs/fails/grid"))["missed"] == []


async def test_missed_instants_are_counted_before_the_run_that_came_next():
    gf = Goflow()
    for job in jobs():
        gf.add_job(job)
    async with gf.engine() as engine:
        instants = []
        for count in (2, 1):
            instants.append(engine.now())
            missed = ScheduleMissed(engine.now(), "chain", first=engine.now(), last=engine.now(), count=count)
            missed.reason, missed.cause = "busy", "overlap"
            await engine._schedules.record([missed])
            await (await engine.submit("chain")).wait()
        client = gf.app.test_client()
        chain = (await (await client.get("/api/overview")).get_json())["jobs"][0]
        assert chain["missed"] == [[1, 1]], "what was missed before all runs is left out"
        grid = await (await client.get("/api/jobs/chain/grid")).get_json()
        assert [(one["count"], one["cause"], one["reason"]) for one in grid["missed"]] == [
            (2, "overlap", "busy"),
            (1, "overlap", "busy"),
        ]
