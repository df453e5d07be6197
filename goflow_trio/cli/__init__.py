"""The command line: parse, call, print. `main` maps errors to one line and an exit code; commands do the rest.

Exit codes: 0 done (for `run`: successful), 1 failed, 2 wrong usage, 69 the store cannot be used, 130 cancelled by
Ctrl-C.
"""

from __future__ import annotations

import errno
import sys

import click

import goflow_trio
from goflow_trio.cli.benching import bench
from goflow_trio.cli.completion import completion
from goflow_trio.cli.forecasting import simulate
from goflow_trio.cli.inspecting import check, upcoming
from goflow_trio.cli.printing import to_nowhere
from goflow_trio.cli.remote import approve, backfill, cancel, executions, jobs, logs, retry, show, submit, toggle
from goflow_trio.cli.running import run
from goflow_trio.cli.serving import serve, token
from goflow_trio.cli.storing import store
from goflow_trio.cli.tailing import tail
from goflow_trio.errors import DefinitionError, GoflowError, StoreError, UsageError

_NOT_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE}
_STORE_UNUSABLE = 69  # EX_UNAVAILABLE of sysexits.h


class _TwoPlaces(click.Group):
    """Lists commands by where they work: what runs here, and what asks a server."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write both lists, in the order in which a newcomer needs them."""
        for place, commands in (("On this machine", _LOCAL), ("Of a running server", _REMOTE)):
            widest = max(len(str(command.name)) for command in commands)
            room = formatter.width - 6 - widest
            with formatter.section(place):
                formatter.write_dl([(str(command.name), command.get_short_help_str(room)) for command in commands])


@click.group(cls=_TwoPlaces, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(goflow_trio.__version__, prog_name="goflow-trio")
def cli() -> None:
    """A small, durable DAG scheduler: jobs in code, storage of your choice, one command to deploy.

    Every option can also come from the environment: GOFLOW_PORT is --port.
    """


_LOCAL = (serve, run, check, upcoming, simulate, store, bench, token, completion)
_REMOTE = (jobs, executions, show, submit, retry, cancel, approve, toggle, backfill, logs, tail)

for command in (*_LOCAL, *_REMOTE):
    command.context_settings["auto_envvar_prefix"] = "GOFLOW"  # GOFLOW_PORT, whichever command has --port
    cli.add_command(command)


def main() -> None:
    """Run the command line and exit."""
    try:
        cli(standalone_mode=False, prog_name="goflow-trio")
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except GoflowError as error:
        click.echo(f"goflow-trio: {error}", err=True)
        sys.exit(_exit_code(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno not in _NOT_WRITTEN:
            raise
        to_nowhere(sys.stdout)
        click.echo(f"goflow-trio: the output cannot be written: {error.strerror}", err=True)
        sys.exit(1)


def _exit_code(error: GoflowError) -> int:
    if isinstance(error, UsageError | DefinitionError):
        return 2
    return _STORE_UNUSABLE if isinstance(error, StoreError) else 1
