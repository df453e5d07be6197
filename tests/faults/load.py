"""Clients that submit without a pause to a server that fails, and what came of it.

As a program: `python -m tests.faults.load kill --store URL [--times 100]` kills a real server with SIGKILL at random
moments; `python -m tests.faults.load postgres [--times 20]` restarts a PostgreSQL under a server that goes on. Both
print one line with the figures and exit with 1 if anything is lost or doubled.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

JOBS = Path(__file__).with_name("load_jobs.py")
START_SECONDS = 60.0


class GoflowServer:
    """`goflow-trio serve` as a process of its own, on one port for all its lives."""

    def __init__(self, store: str, port: int) -> None:
        self.store, self.port = store, port
        self.process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> float:
        """Start it; return after how many seconds it was ready."""
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "goflow_trio", "serve", str(JOBS), "--store", self.store, "--no-dashboard"),
                *("--port", str(self.port)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = []
        for line in self.process.stdout:
            said.append(line)
            if line.startswith("goflow-trio serves"):
                self._reader = threading.Thread(target=self._drain, daemon=True)
                self._reader.start()
                return time.monotonic() - begun
        raise RuntimeError(f"the server did not start:\n{''.join(said)}")

    def _drain(self) -> None:
        """Read what it says further: a pipe that is full would stop it."""
        with self.process.stdout as pipe:
            pipe.read()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self._reader is not None:
            self._reader.join()


def ask(port: int, method: str, path: str, headers=(), timeout: float = 10) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    finally:
        connection.close()


class Clients:
    """Threads that submit one execution after the other, each with a key of its own, each until it is acknowledged.

    Args:
        port: of the server.
        count: how many threads.
        rate: submits a second, of all together.
    """

    def __init__(self, port: int, count: int = 4, rate: float = 40.0) -> None:
        self.port = port
        self.ids: dict[str, set[str]] = {}  # by key: the ids that were acknowledged
        self.refused: Counter[int] = Counter()
        self.slowest_refusal = 0.0
        self.last_success = 0.0
        self._pause = count / rate
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(START_SECONDS)

    def _run(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            self._submit(f"client {number} turn {turn}")
            time.sleep(self._pause)

    def _submit(self, key: str) -> None:
        ids = self.ids.setdefault(key, set())
        again = random.random() < 0.1  # some ask once more for what they know
        while True:
            begun = time.monotonic()
            try:
                status, body = ask(self.port, "POST", "/api/jobs/loaded/submit", {"Idempotency-Key": key})
            except (OSError, http.client.HTTPException, ValueError):
                self.refused[0] += 1
                time.sleep(0.05)
                continue
            if status == 200:
                ids.add(body["id"])
                self.last_success = time.monotonic()
                if not again:
                    return
                again = False
            else:
                self.refused[status] += 1
                self.slowest_refusal = max(self.slowest_refusal, time.monotonic() - begun)
                time.sleep(0.05)


def executions(port: int) -> list[dict]:
    """Return all executions, page by page."""
    found, cursor = [], ""
    while cursor is not None:
        _, page = ask(port, "GET", f"/api/executions?limit=500&cursor={cursor}", timeout=60)
        found += page["executions"]
        cursor = page["next"]
    return found


def settle(port: int) -> list[dict]:
    """Wait until everything has ended; return all executions."""
    deadline = time.monotonic() + 120
    while True:
        found = executions(port)
        unfinished = [item for item in found if item["state"] not in {"successful", "failed", "cancelled", "skipped"}]
        if not unfinished or time.monotonic() > deadline:
            assert not unfinished, f"{len(unfinished)} executions never ended, such as {unfinished[0]}"
            return found
        time.sleep(0.3)


def audit(clients: Clients, found: list[dict]) -> dict[str, int]:
    """Match what was acknowledged with what is there."""
    acknowledged = Counter(execution for ids in clients.ids.values() for execution in ids)
    listed = Counter(item["id"] for item in found)
    instants = Counter(item["scheduledFor"] for item in found if item["trigger"] == "schedule")
    manual = sum(item["trigger"] != "schedule" for item in found)
    return {
        "acknowledged": len(acknowledged),
        "lost": len(acknowledged - listed),
        "keys with two executions": sum(len(ids) > 1 for ids in clients.ids.values()),
        "executions of no key": max(0, manual - len(clients.ids)),
        "listed twice": sum(count > 1 for count in listed.values()),
        "instants run": len(instants),
        "instants run twice": sum(count > 1 for count in instants.values()),
        "not successful": sum(item["state"] != "successful" for item in found),
    }


def is_clean(figures: dict[str, int]) -> bool:
    bad = ("lost", "keys with two executions", "executions of no key", "listed twice", "instants run twice")
    return figures["acknowledged"] > 0 and not any(figures[name] for name in (*bad, "not successful"))


def kill_again_and_again(store: str, port: int, times: int, seed: int) -> dict[str, object]:
    """Kill a server at random moments under load, then count."""
    chance = random.Random(seed)
    server, starts = GoflowServer(store, port), []
    starts.append(server.start())
    try:
        with Clients(port) as clients:
            for _ in range(times):
                time.sleep(chance.uniform(0.02, 1.0))
                server.kill()
                starts.append(server.start())
            time.sleep(1)
        figures: dict[str, object] = dict(audit(clients, settle(port)))
    finally:
        server.kill()
    starts.sort()
    return figures | {"kills": times, "slowest start": round(starts[-1], 1), "refused": dict(clients.refused)}


def restart_postgres(postgres, port: int, times: int, seed: int) -> dict[str, object]:
    """Restart the PostgreSQL below a server that goes on, fast and immediate in turn, under 20 submits a second."""
    chance = random.Random(seed)
    server, returns = GoflowServer(postgres.url, port), []
    server.start()
    try:
        with Clients(port, rate=20) as clients:
            for turn in range(times):
                time.sleep(chance.uniform(0.5, 1.5))
                postgres.stop(signal.SIGQUIT if turn % 2 else signal.SIGINT)
                time.sleep(chance.uniform(0, 1))
                postgres.start()
                back = time.monotonic()
                while clients.last_success < back:
                    assert time.monotonic() < back + START_SECONDS, "no service long after the store was back"
                    time.sleep(0.01)
                returns.append(clients.last_success - back)
            time.sleep(1)
        figures: dict[str, object] = dict(audit(clients, settle(port)))
        assert server.process.poll() is None, "the server has ended"
        assert ask(port, "GET", "/api/health") == (200, {"health": "OK"})
    finally:
        server.kill()
    return figures | {
        "restarts": times,
        "slowest return of service": round(max(returns), 2),
        "slowest refusal": round(clients.slowest_refusal, 2),
        "refused": dict(clients.refused),
    }


def main() -> None:
    from tests import servers

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kill", "postgres"])
    parser.add_argument("--store", default="", help="URL of the store; `postgres` starts one of its own")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    options = parser.parse_args()
    port, postgres = servers.free_port(), None
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or f"sqlite:///{folder}/load.db"
        if options.what == "postgres" or options.store == "postgres":
            postgres = servers.postgres()
            postgres.start()
            store = postgres.url
        try:
            if options.what == "kill":
                figures = kill_again_and_again(store, port, options.times, options.seed)
            else:
                figures = restart_postgres(postgres, port, options.times, options.seed)
        finally:
            if postgres is not None:
                postgres.close()
    print(f"seed {options.seed}:", ", ".join(f"{name} {value}" for name, value in figures.items()))
    sys.exit(0 if is_clean(figures) else 1)


if __name__ == "__main__":
    main()
