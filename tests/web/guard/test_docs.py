"""What docs/security.md says is so."""

from __future__ import annotations

import re
from pathlib import Path

from goflow_trio import Goflow, Security
from goflow_trio.cli import cli
from goflow_trio.core import limits
from goflow_trio.web.guard.tokens import parse

TEXT = (Path(__file__).parents[3] / "docs" / "security.md").read_text()


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)


def test_the_token_file_of_the_page_is_one():
    (text,) = blocks("tokens")
    tokens, mistakes = parse(text)
    assert not mistakes
    assert [(token.role, token.name) for token in tokens] == [("operate", "alice"), ("read", "grafana"), ("read", "ci")]


def test_the_options_of_the_page_exist():
    options = {
        option for name in ("serve", "token") for parameter in cli.commands[name].params for option in parameter.opts
    }
    assert set(re.findall(r"--[a-z][a-z-]+", TEXT)) <= options


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    (code,) = blocks("python")
    exec(code, {"Goflow": Goflow, "Security": Security})


def test_the_limits_of_the_page_are_those_of_the_table():
    assert (limits.BODY_BYTES, limits.BODY_SECONDS, limits.URL_BYTES) == (1 << 20, 10, 8 << 10)
    assert (limits.HEADER_BYTES, limits.HEADERS, limits.HEADER_SECONDS) == (16 << 10, 100, 5)
    assert (limits.IDLE_SECONDS, limits.SEND_SECONDS, limits.MESSAGE_BYTES) == (15, 20, 64 << 10)
    assert (limits.CONNECTIONS, limits.CONNECTIONS_PER_ADDRESS, limits.SESSION_SECONDS) == (4000, 256, 12 * 3600)
    assert limits.REVOKED_SECONDS == 5
