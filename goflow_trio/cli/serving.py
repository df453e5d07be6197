"""`goflow-trio serve`: the server."""

from __future__ import annotations

import ipaddress

import click

from goflow_trio.cli.options import takeover_option
from goflow_trio.cli.target import load_jobs
from goflow_trio.errors import UsageError
from goflow_trio.goflow import Goflow


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option(
    "--store", envvar="GOFLOW_STORE", default="sqlite:///goflow.db", show_default=True, help="URL of the store."
)
@click.option("--host", envvar="GOFLOW_HOST", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    envvar="GOFLOW_PORT",
    type=click.IntRange(0, 65535),
    default=8181,
    show_default=True,
    help="Port to listen on; 0 picks a free one.",
)
@click.option("--examples", envvar="GOFLOW_EXAMPLES", is_flag=True, help="Add the two example jobs.")
@click.option(
    "--with-seconds",
    envvar="GOFLOW_WITH_SECONDS",
    is_flag=True,
    help="Kept for Goflow's users: schedules with a field for seconds are always understood.",
)
@click.option("--no-dashboard", envvar="GOFLOW_NO_DASHBOARD", is_flag=True, help="Serve the API only.")
@click.option(
    "--grace",
    envvar="GOFLOW_GRACE",
    type=click.FloatRange(0),
    default=10,
    show_default=True,
    help="Seconds that running tasks get at the end.",
)
@takeover_option
def serve(
    targets: tuple[str, ...],
    store: str,
    host: str,
    port: int,
    examples: bool,
    with_seconds: bool,
    no_dashboard: bool,
    grace: float,
    takeover: bool,
) -> None:
    """Run jobs on their schedules and serve the API and the dashboard.

    TARGET is file.py or package.module: its list `jobs`, else every Job and every function annotated `-> Job` in
    it; TARGET:name names one. SIGTERM or Ctrl-C ends it within the grace, a second one at once.
    """
    if not targets and not examples:
        raise UsageError("nothing to serve: name a file with jobs, or use --examples")
    goflow = Goflow(
        store, dashboard=not no_dashboard, show_examples=examples, with_seconds=with_seconds or None, takeover=takeover
    )
    for job in load_jobs(targets):
        goflow.add_job(job)
    if not _is_loopback(host):
        click.echo(
            f"warning: {host} can be reached by others, and there is no authentication: who reaches it can run jobs",
            err=True,
        )
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    goflow.run(bind, grace=grace, announce=click.echo)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
