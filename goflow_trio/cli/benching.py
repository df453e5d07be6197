"""`goflow-trio bench`: the throughput benchmark, on this machine."""

from __future__ import annotations

import click
from attrs import asdict

from goflow_trio.cli.options import json_option
from goflow_trio.cli.printing import print_json, print_table

_HEAD = ["workload", "store", "tasks/s", "µs a task", "bare nursery, µs", "ratio (min to max)"]


@click.command()
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="Counted runs of each row.")
@click.option(
    "--scale", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Size of the workloads."
)
@json_option
def bench(runs: int, scale: float, as_json: bool) -> None:
    """Time no-op tasks, and a bare trio nursery beside them.

    It takes about a minute and prints medians.
    """
    from goflow_trio.testing.throughput import measure  # noqa: PLC0415  # only who asks for it

    results = list(measure(runs, scale))
    if as_json:
        print_json([asdict(result) for result in results])
        return
    rows = [
        [
            result.workload,
            result.store,
            f"{result.tasks_per_second:,.0f}",
            f"{result.microseconds:,.0f}",
            f"{result.bare_microseconds:,.0f}",
            f"{result.ratio[0]:.1f} ({result.ratio[1]:.1f} to {result.ratio[2]:.1f})",
        ]
        for result in results
    ]
    print_table([_HEAD, *rows], "")
