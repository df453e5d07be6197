"""Every example runs, as a reader would run it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from httpx2 import AsyncClient

from goflow_trio import Goflow, Noop, Task, open_engine
from goflow_trio.cli.target import load_jobs
from goflow_trio.examples import EXAMPLE_JOBS
from goflow_trio.testing.store_conformance import CHECKS

FOLDER = Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_run_by_a_test():
    source = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    for path in FOLDER.glob("*.py"):
        assert f'"{path.stem}' in source, f"{path.name} is not run by any test"


async def run(job, **params):
    async with open_engine(jobs=[job]) as engine:
        return await (await engine.submit(job.name, params)).wait()


async def serve_and_get(gf, path):
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(gf.serve, "127.0.0.1:0")
        async with AsyncClient(base_url=url) as client:
            answer = (await client.get(path)).json()
        nursery.cancel_scope.cancel()
    return answer


async def test_readme_quick_start():
    answer = await serve_and_get(load("readme_quick_start").gf, "/api/jobs")
    assert answer == {"jobs": ["example-complex-analytics", "example-custom-operator"]}


async def test_mounted():
    """Its own routes and ours answer on one port; what a route submitted runs, and the pages know where they are."""
    example = load("mounted")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(example.main, "127.0.0.1:0")
            async with AsyncClient(base_url=url, follow_redirects=True) as client:
                engine = example.shop.config["ENGINE"]
                async with engine.subscribe(types=["execution.finished"]) as events:
                    execution = (await client.post("/pictures/cat.png")).json()["thumbnail"].split("/")[-1]
                    assert (await anext(aiter(events))).execution == execution
                record = (await client.get(f"/flow/api/executions/{execution}")).json()
                assert record["tasks"][0]["result"] == "cat.png is small now"
                assert str((await client.get("/flow/")).url) == f"{url}/flow/ui/"
                assert str((await client.get("/flow")).url) == f"{url}/flow/ui/"
                assert (await client.get("/api/jobs")).status_code == 404
            nursery.cancel_scope.cancel()


async def test_readme_engine(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    answer = await serve_and_get(load("readme_engine").gf, "/api/jobs/my-job")
    assert answer["schedule"] == "* * * * *"
    assert (tmp_path / "goflow.db").exists()
    assert "GET /api/jobs/my-job" in capsys.readouterr().err


async def test_readme_jobs(monkeypatch):
    gf = Goflow()
    target = Goflow()
    gf.add_job(load("readme_jobs").one_task)
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(target.serve, "127.0.0.1:0")
        monkeypatch.setenv("EXAMPLE_URL", f"{url}/api/health")
        jobs = load("readme_jobs")
        for factory in (jobs.one_task, jobs.with_retries):
            assert (await run(factory())).state == "successful"
        record = await run(jobs.with_dependencies())
        assert record.results["get-example"] == '{"health":"OK"}'
        assert record.results["add-two-plus-three"] == 5
        nursery.cancel_scope.cancel()
    record = await run(jobs.with_a_trigger_rule())
    assert record.state == "failed"
    assert record.tasks["sleep-for-one-second"].state == "successful"
    assert len(load_jobs([str(FOLDER / "readme_jobs.py")])) == 4


@pytest.mark.parametrize("store", ["memory://", "sqlite:///kept.db"])
def test_embedded_service(store, tmp_path):
    command = [sys.executable, str(FOLDER / "embedded_service.py"), store]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "successful hello trio"
    assert len(done.stdout.splitlines()) == 8


async def test_custom_operator(tmp_path):
    module = load("custom_operator")
    (tmp_path / "here").write_text("found")
    job = module.wait_for_file()
    job.add(Task("other", module.WaitForFile(str(tmp_path / "here"))))
    record = await run(job)
    assert record.results["other"] == "found"


async def test_custom_trigger_rule():
    record = await run(load("custom_trigger_rule").quorum())
    assert record.tasks["commit"].state == "successful"
    assert record.state == "failed"


def test_custom_store_runs_twice_on_one_folder(tmp_path):
    for count in (1, 2):
        command = [sys.executable, str(FOLDER / "custom_store.py"), str(tmp_path / "store")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"successful {count} executions")


@pytest.mark.parametrize(
    "check", [check for check in CHECKS if "10,000" not in check.name and "pag" not in check.name], ids=str
)
async def test_custom_store_keeps_the_contract(check, tmp_path):
    module = load("custom_store")

    async def open_it():
        await trio.lowlevel.checkpoint()
        return module.FolderBackend(tmp_path / "store")

    await check.run(open_it)


async def test_the_example_jobs_end_as_goflows_do(autojump_clock):
    complex_analytics, custom = (factory() for factory in EXAMPLE_JOBS)
    for name in ("sleep-one", "sleep-two", "clean-up"):  # real processes have no place under a virtual clock
        complex_analytics[name].operator = Noop()
    for name in ("whoops-with-constant-delay", "whoops-with-exponential-backoff"):
        complex_analytics[name].operator = lambda: 1 / 0
    record = await run(complex_analytics)
    assert record.state == "failed"
    assert {name: str(task.state) for name, task in record.tasks.items()} == {
        "sleep-one": "successful",
        "add-one-one": "successful",
        "sleep-two": "successful",
        "add-two-four": "successful",
        "add-three-four": "successful",
        "whoops-with-constant-delay": "failed",
        "whoops-with-exponential-backoff": "failed",
        "totally-skippable": "skipped",
        "clean-up": "successful",
    }
    assert record.tasks["whoops-with-constant-delay"].attempt == 6
    assert record.tasks["whoops-with-exponential-backoff"].attempt == 2
    assert (await run(custom)).results == {"posAdd": 11}
