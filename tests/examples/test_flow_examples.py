"""The examples of docs/flow.md, each run as a reader would run it, on a clock that costs nothing."""

from __future__ import annotations

from tests.examples.test_examples import load, run


async def test_flow_rerun():
    record = await load("flow_rerun").main()
    assert record.state == "successful"
    assert record.results == {"extract": [1, 2, 3], "load": 6}
    assert [len(record.tasks[name].attempts) for name in ("extract", "load")] == [1, 2]
    assert record.reopenings[0].reason == "made room on the disk"


async def test_flow_branch(autojump_clock):
    job = load("flow_branch").load()
    states = {name: str(task.state) for name, task in (await run(job)).tasks.items()}
    assert (states["at-once"], states["in-batches"], states["join"]) == ("successful", "skipped", "successful")
    assert states["notify"] == "skipped"
    record = await run(job, rows=5000, notify=True)
    states = {name: str(task.state) for name, task in record.tasks.items()}
    assert (states["at-once"], states["in-batches"], states["notify"]) == ("skipped", "successful", "successful")


async def test_flow_alerts():
    assert await load("flow_alerts").main() == ["nightly of monday failed: load: no space left on the disk"]


async def test_flow_waits(autojump_clock, capsys):
    record = await load("flow_waits").main()
    assert record.results["deploy"] == "deployed, says ada"
    assert record.results["artifact"] == "app.tar.gz"
    assert capsys.readouterr().out == "waiting for approval: Deploy to production?\n"


async def test_flow_map(autojump_clock):
    job = load("flow_map").count()
    record = await run(job)
    assert record.results["count-lines"] == [10, 11, 12, 13, 14]
    assert record.results["total"] == record.results["at-least"] == 60
    record = await run(job, broken=True)
    assert str(record.tasks["total"].state) == "skipped"
    assert record.results["at-least"] == 48
    assert record.reason == "failed: count-lines[2]"


async def test_flow_run_job(autojump_clock):
    record = await run(load("flow_run_job").week())
    assert record.results["each-day"][0] == {"extract": [6, 6, 6], "total": 18}
    assert record.results["report"] == 3 * (6 + 7 + 9)


async def test_flow_params(monkeypatch, capsys):
    monkeypatch.setenv("DEPLOY_TOKEN", "not to be seen")
    await load("flow_params").main()
    assert capsys.readouterr().out.splitlines() == [
        "rows: parameter 'rows': expected `int` >= 1",
        "day: parameter 'day': invalid RFC3339 encoded date",
        "{'load': '3 rows of 01 January 2026', 'deploy': 'with ***\\n'}",
    ]


async def test_flow_resources(autojump_clock):
    module = load("flow_resources")
    job = module.load()
    assert (await run(job)).state == "successful"
    assert module.events == ["connected to db://here", "closed after 3 rows"]
    assert job.groups == {"insert": ["insert-users", "insert-orders", "insert-prices"]}
