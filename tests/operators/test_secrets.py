"""Secrets: read when they are needed, masked wherever a task could show them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow_trio import Command, DefinitionError, Job, Secret, State, Task, open_engine
from goflow_trio.errors import OperatorError
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators import secrets
from goflow_trio.operators.secrets import StreamMask, mask, mask_value

VALUE = "s3cret-value"


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.setattr(secrets, "_revealed", set())
    monkeypatch.setenv("TEST_TOKEN", VALUE)


def test_a_secret_shows_its_name_only():
    secret = Secret("TEST_TOKEN")
    assert repr(secret) == str(secret) == f"{secret}" == "Secret('TEST_TOKEN')"
    assert secret.reveal() == VALUE
    assert Secret("TEST_TOKEN", form="Bearer {}").reveal() == f"Bearer {VALUE}"
    assert VALUE not in repr(Command("x", [secret], env={"A": secret}))


def test_a_secret_from_a_file_is_without_its_last_line_break(tmp_path):
    (tmp_path / "token").write_text("from a file\n")
    assert Secret("X", file=tmp_path / "token").reveal() == "from a file"


def test_a_secret_that_is_nowhere_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(OperatorError, match="secret 'NOT_THERE' is not in the environment of the server"):
        Secret("NOT_THERE").reveal()
    with pytest.raises(OperatorError, match=r"secret 'X' cannot be read from .*nothing': No such file"):
        Secret("X", file=tmp_path / "nothing").reveal()
    for wrong in ("", "a=b", 7):
        with pytest.raises(DefinitionError, match="cannot be the name"):
            Secret(wrong)
    with pytest.raises(DefinitionError, match="form must be a text with one"):
        Secret("X", form="Bearer")


def test_only_what_was_revealed_and_is_long_enough_is_masked(monkeypatch):
    assert mask(f"is {VALUE}") == f"is {VALUE}"
    Secret("TEST_TOKEN").reveal()
    assert mask(f"is {VALUE}, {VALUE}") == "is ***, ***"
    monkeypatch.setenv("TEST_TOKEN", "abc")
    Secret("TEST_TOKEN").reveal()
    assert mask("abc") == "abc"


def test_values_are_masked_in_depth():
    Secret("TEST_TOKEN").reveal()
    value = {"a": [VALUE, 1, None], VALUE: (f"x{VALUE}y".encode(), {"b": VALUE})}
    assert mask_value(value) == {"a": ["***", 1, None], "***": (b"x***y", {"b": "***"})}
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert mask_value(deep) is deep


@given(st.lists(st.sampled_from(["aab", "aabc", "x"]), max_size=8), st.lists(st.integers(1, 5), min_size=1))
def test_a_secret_is_masked_however_it_is_cut(words, cuts):
    secrets._revealed = {"aabc"}
    data = "".join(words).encode()
    shown, whole, at, turn = StreamMask(), b"", 0, 0
    while at < len(data):
        step = cuts[turn % len(cuts)]
        whole += shown.feed(data[at : at + step])
        at, turn = at + step, turn + 1
    whole += shown.rest()
    assert whole == data.replace(b"aabc", b"***")


def test_what_may_not_become_a_secret_any_more_is_shown_at_once():
    Secret("TEST_TOKEN").reveal()
    stream = StreamMask()
    assert stream.feed(b"hello s3c") == b"hello "
    assert stream.feed(b"ured\n") == b"s3cured\n"
    assert stream.feed(b"nothing held back\n") == b"nothing held back\n"


async def test_a_command_gets_its_secrets_and_shows_none():
    command = Command(
        'echo "$1" "$TOKEN"; echo $TOKEN >&2', [Secret("TEST_TOKEN")], shell=True, env={"TOKEN": Secret("TEST_TOKEN")}
    )
    assert await command.run(TaskContext("job", "id", "task")) == f"{VALUE} {VALUE}\n"


async def test_nothing_of_a_secret_is_stored_shown_or_told(tmp_path):
    job = Job("leaks")
    shows = 'echo "$TOKEN"; printf s3cret; sleep 0.2; printf -- "-value\\n"; echo $TOKEN >&2'
    job.add(Task("prints", Command(shows, shell=True, env={"TOKEN": Secret("TEST_TOKEN")})))
    job.add(Task("fails", Command('echo "$T"; echo "$T" >&2; exit 3', shell=True, env={"T": Secret("TEST_TOKEN")})))

    @job.task
    async def logs(context):
        value = Secret("TEST_TOKEN").reveal()
        context.log(f"the value is {value}")
        return {"value": value}

    @job.task
    async def raises():
        raise ValueError(f"cannot use {Secret('TEST_TOKEN').reveal()}")

    path = tmp_path / "store.db"
    told = []
    async with open_engine(f"sqlite:///{path}", jobs=[job]) as engine, engine.subscribe() as events:
        record = await (await engine.submit("leaks")).wait()
        assert record.tasks["prints"].result == "***\n***\n"
        assert record.tasks["logs"].result == {"value": "***"}
        assert record.tasks["raises"].error.message == "cannot use ***"
        assert record.tasks["fails"].state is State.FAILED
        for name in record.tasks:
            output = await engine.output(record.id, name)
            assert VALUE.encode() not in output.data
            assert b"***" in output.data
        told = [repr(event) for event in await events.receive_batch()]
    assert VALUE not in "".join(told)
    for file in tmp_path.iterdir():
        assert VALUE.encode() not in file.read_bytes(), file
