"""`GET /metrics`: what the server does, in Prometheus' text format 0.0.4. Counters begin anew with the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from goflow_trio.actors.engine import Engine
from goflow_trio.core.messages import ExecutionFinished
from goflow_trio.stores.size import size_of
from goflow_trio.web.routes import Routes

routes = Routes("server")

Samples = Iterable[tuple[Mapping[str, str], float]]


@routes.get("/metrics", content_type="text/plain; version=0.0.4")
async def metrics(engine: Engine) -> str:
    """What the server does, for Prometheus."""
    feed = engine.store.feed
    size = await size_of(engine.store.backend)
    active = Counter((record.job, record.state) for record in engine.store.ledger.live.values())
    finished = {
        (job, state): count for (kind, job, state), count in feed.counts.items() if kind == ExecutionFinished.type
    }
    events = Counter[tuple[str, str]]()
    for (kind, job, _), count in feed.counts.items():
        events[kind, job] += count
    return "".join(
        [
            _family("goflow_jobs", "gauge", "Registered jobs.", [({}, len(engine.jobs))]),
            _family(
                "goflow_schedules_active",
                "gauge",
                "Jobs whose schedule is on.",
                [({}, sum(engine.is_active(job) for job in engine.jobs))],
            ),
            _family(
                "goflow_executions_unfinished",
                "gauge",
                "Executions that are not finished.",
                [({"job": job, "state": state}, count) for (job, state), count in active.items()],
            ),
            _family(
                "goflow_executions_finished_total",
                "counter",
                "Executions that finished, by what became of them.",
                [({"job": job, "state": state}, count) for (job, state), count in finished.items()],
            ),
            _family(
                "goflow_events_total",
                "counter",
                "Events of the feed; task.started are attempts.",
                [({"type": kind, "job": job}, count) for (kind, job), count in events.items()],
            ),
            _family("goflow_log_position", "gauge", "Position of the last event in the log.", [({}, engine.seq)]),
            _family("goflow_subscribers", "gauge", "Open subscriptions of the feed.", [({}, feed.subscribers)]),
            _family("goflow_store_bytes", "gauge", "Bytes of the store's files.", [] if size is None else [({}, size)]),
            _family("goflow_store_up", "gauge", "Whether the store takes writes.", [({}, engine.problem is None)]),
        ]
    )


def _family(name: str, kind: str, text: str, samples: Samples) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{inside}}} {float(value):.17g}" if inside else f"{name} {float(value):.17g}")
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
