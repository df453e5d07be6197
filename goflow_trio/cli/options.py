"""Options that several commands share; each also comes from the environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import click

from goflow_trio.core import limits
from goflow_trio.errors import UsageError

params_option = click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; the value is JSON, or else text."
)


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--url` and `--token`, and call it with both as `server`."""

    @click.option("--url", default="http://127.0.0.1:8181", show_default=True, help="The server to ask.")
    @click.option(
        "--token",
        metavar="TOKEN",
        help="Its token; @FILE reads it from a file. Better GOFLOW_TOKEN: others may see a command line.",
    )
    @wraps(command)
    def with_server(*args: Any, url: str, token: str | None, **options: Any) -> Any:
        return command(*args, server=(url, token), **options)

    return with_server


takeover_option = click.option(
    "--takeover",
    is_flag=True,
    envvar="GOFLOW_TAKEOVER",
    help="Take the store from a server that is gone without letting go, once its lease has run out.",
)
max_active_tasks_option = click.option(
    "--max-active-tasks",
    type=click.IntRange(1),
    envvar="GOFLOW_MAX_ACTIVE_TASKS",
    help=f"How many tasks run at once.  [default: {limits.ACTIVE_TASKS}]",
)
pools_option = click.option(
    "--pool",
    "pools",
    multiple=True,
    envvar="GOFLOW_POOL",
    metavar="NAME=SLOTS",
    help="A pool that tasks take slots of, such as db=3. May be repeated.",
)
json_option = click.option("--json", "as_json", is_flag=True, envvar="GOFLOW_JSON", help="Print JSON.")


def read_pools(texts: Iterable[str]) -> dict[str, int]:
    """Return pools given as `name=slots`.

    Raises:
        UsageError: one is written otherwise.
    """
    pools = {}
    for text in texts:
        name, _, slots = text.partition("=")
        if not name or not (slots.isascii() and slots.isdigit()):
            raise UsageError(f"--pool {text!r}: write it as name=slots, such as db=3")
        pools[name] = int(slots)
    return pools


def read_params(texts: Iterable[str]) -> dict[str, Any]:
    """Return parameters given as `name=value`.

    Raises:
        UsageError: one has no name or no `=`.
    """
    params = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"--param {text!r}: write it as name=value")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params
