"""`goflow-trio completion`: makes the shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": "goflow-trio completion bash > ~/.local/share/bash-completion/completions/goflow-trio",
    "zsh": 'goflow-trio completion zsh > "${fpath[1]}/_goflow-trio"',
    "fish": "goflow-trio completion fish > ~/.config/fish/completions/goflow-trio.fish",
}

_HELP = "\n".join(["Print the script that makes SHELL complete goflow-trio.", "", "\b", *_HOW.values()])


@click.command(help=_HELP)
@click.argument("shell", type=click.Choice(sorted(_HOW)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:  # noqa: D103  # its help is above
    root = context.find_root().command
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(root, {}, "goflow-trio", "_GOFLOW_TRIO_COMPLETE").source())
