"""`goflow-trio serve`: the server, and `goflow-trio token`: a new token for it."""

from __future__ import annotations

import gc
import logging
import os
import secrets
import sys
import time

import click

from goflow_trio.cli.options import max_active_tasks_option, pools_option, read_pools, takeover_option
from goflow_trio.cli.target import load_jobs
from goflow_trio.errors import StoreUnavailable, UsageError
from goflow_trio.goflow import Goflow
from goflow_trio.web.guard.settings import Security
from goflow_trio.web.guard.tokens import Role, digest, parse

_TOKEN_BYTES = 32
_COLLECTED_AFTER = 5_000, 1, 80


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--store", default="sqlite:///goflow.db", show_default=True, help="URL of the store.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8181,
    show_default=True,
    help="Port to listen on; 0 picks a free one.",
)
@click.option("--examples", is_flag=True, help="Add the two example jobs.")
@click.option(
    "--with-seconds",
    is_flag=True,
    help="Kept for Goflow's users: schedules with a field for seconds are always understood.",
)
@click.option("--no-dashboard", is_flag=True, help="Serve the API only.")
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=10,
    show_default=True,
    help="Seconds that running tasks get at the end.",
)
@max_active_tasks_option
@pools_option
@takeover_option
@click.option(
    "--wait-for-store",
    type=click.FloatRange(0),
    default=0,
    metavar="SECONDS",
    help="Wait so long for a store that cannot be reached at the start.",
)
@click.option("--token-file", metavar="FILE", help="File of tokens; then nothing is answered without one.")
@click.option("--insecure", is_flag=True, help="Listen where others reach it, though there are no tokens.")
@click.option(
    "--allowed-host",
    "allowed_hosts",
    envvar="GOFLOW_ALLOWED_HOST",
    multiple=True,
    metavar="NAME",
    help="A name it may be called by, besides localhost and its own address; * for any. May be repeated.",
)
@click.option(
    "--cors-origin",
    "cors_origins",
    envvar="GOFLOW_CORS_ORIGIN",
    multiple=True,
    metavar="ORIGIN",
    help="Origin of web pages that may call it with a token. May be repeated.",
)
@click.option(
    "--forwarded-allow-ips",
    multiple=True,
    metavar="ADDRESS",
    help="A reverse proxy whose X-Forwarded headers are believed: address or network. May be repeated.",
)
@click.option("--root-path", default="", metavar="PATH", help="Path a reverse proxy puts it under, such as /goflow.")
@click.option("--certfile", metavar="FILE", help="Certificate and its chain in PEM: speak TLS.")
@click.option("--keyfile", metavar="FILE", help="Key of the certificate in PEM.")
@click.option("--audit-file", metavar="FILE", help="Append who did what to this file, not to standard error.")
def serve(
    targets: tuple[str, ...],
    store: str,
    host: str,
    port: int,
    examples: bool,
    with_seconds: bool,
    no_dashboard: bool,
    grace: float,
    max_active_tasks: int | None,
    pools: tuple[str, ...],
    takeover: bool,
    wait_for_store: float,
    token_file: str | None,
    insecure: bool,
    allowed_hosts: tuple[str, ...],
    cors_origins: tuple[str, ...],
    forwarded_allow_ips: tuple[str, ...],
    root_path: str,
    certfile: str | None,
    keyfile: str | None,
    audit_file: str | None,
) -> None:
    """Run jobs on their schedules; serve the API and dashboard.

    TARGET is file.py or package.module: its list `jobs`, else every Job and every function annotated `-> Job` in
    it; TARGET:name names one. SIGTERM or Ctrl-C ends it within the grace, a second one at once.

    It listens on this machine only; elsewhere it wants a --token-file, or --insecure.
    """
    if not targets and not examples:
        raise UsageError("nothing to serve: name a file with jobs, or use --examples")
    security = Security(
        token_file=token_file,
        allowed_hosts=allowed_hosts,
        cors_origins=cors_origins,
        forwarded_allow_ips=forwarded_allow_ips,
        root_path=root_path,
        certfile=certfile,
        keyfile=keyfile,
    )
    goflow = Goflow(
        store,
        dashboard=not no_dashboard,
        show_examples=examples,
        with_seconds=with_seconds or None,
        security=security,
        max_active_tasks=max_active_tasks,
        pools=read_pools(pools),
        takeover=takeover,
    )
    for job in load_jobs(targets):
        goflow.add_job(job)
    if token_file is not None or audit_file is not None:
        _log_audit(audit_file)
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    collect_seldom()
    give_up = time.monotonic() + wait_for_store
    while True:
        try:
            return goflow.run(bind, grace=grace, insecure=insecure, announce=click.echo)
        except StoreUnavailable as error:
            if time.monotonic() >= give_up:
                raise
            click.echo(f"waiting for the store: {error}", err=True)
            time.sleep(1)


def collect_seldom() -> None:
    """Have Python look for garbage in circles more seldom, in a process that is the server's alone.

    A look at all objects takes 0.2 s of a busy server or of one with 1,000 subscribers, and everything waits for it. As
    Python has it, a busy server took one every 5,000 tasks, a third of its CPU time: most of what is in flight outlives
    the 700 objects after which it is taken for old. Now it takes a million new ones. What is there at the start is not
    looked at again.

    The looks between are at few objects each, 15,000 at most. A subscriber is 260: while 1,000 came at once, a look at
    the last 110,000 took 60 ms, those at 15,000 take 4 ms, and in all less.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)


def _log_audit(path: str | None) -> None:
    """Write who did what to a file, or to standard error."""
    try:
        handler = logging.StreamHandler(sys.stderr) if path is None else logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the audit file {path} cannot be written: {error.strerror}") from None
    handler.setFormatter(logging.Formatter("%(message)s"))
    audit = logging.getLogger("goflow_trio.audit")
    audit.addHandler(handler)
    audit.setLevel(logging.INFO)
    audit.propagate = False


@click.command()
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role], case_sensitive=False),
    default=Role.OPERATE.value,
    show_default=True,
    help="What it may do.",
)
@click.option("--name", required=True, help="Whom it is for; the audit log tells it by this name.")
@click.option("--expires", default="", metavar="ISO", help="The instant from which on it is worth nothing.")
@click.option("--file", "path", metavar="FILE", envvar="GOFLOW_TOKEN_FILE", help="Append it to this token file.")
def token(role: str, name: str, expires: str, path: str | None) -> None:
    """Make a token and print it. What belongs into a token file is its hash, which is printed or appended."""
    made = secrets.token_urlsafe(_TOKEN_BYTES)
    line = f"{role} sha256:{digest(made).hex()} {name} {expires}".rstrip()
    _, mistakes = parse(line)
    if mistakes or len(name.split()) != 1:
        raise UsageError(f"a name is one word, an expiry such as 2027-01-31; got {name!r} and {expires!r}")
    if path is None:
        click.echo(f"line for the token file: {line}", err=True)
    else:
        try:
            opened = os.open(path, os.O_APPEND | os.O_CREAT | os.O_RDWR, 0o600)
            with os.fdopen(opened, "r+", encoding="utf-8") as file:
                kept = file.read()
                file.write(line + "\n" if not kept or kept.endswith("\n") else f"\n{line}\n")
        except OSError as error:
            raise UsageError(f"the token file {path} cannot be written: {error.strerror}") from None
    click.echo(made)
