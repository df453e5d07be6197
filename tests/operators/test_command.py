"""Commands, with real processes: what they get, what is kept of them, and that nothing of them stays."""

import json
import os
import re
import resource
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from goflow_trio import Job, Task, open_engine
from goflow_trio.errors import CommandFailed, DefinitionError
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators import Command, ProcessLimits, processes
from goflow_trio.operators.command import RESULT_HEAD, RESULT_TAIL
from tests.patience import AGES, SOON, until

CONTEXT = TaskContext("job", "0123", "task", attempt=3)
linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


def sh(line, *args, **more):
    return Command(line, args, shell=True, **more)


def python(code, *args, **more):
    return Command(sys.executable, ["-c", code, *args], **more)


async def run(command, context=CONTEXT):
    with trio.fail_after(SOON):
        return await command.run(context)


async def failure(command, context=CONTEXT):
    with pytest.raises(CommandFailed) as caught:
        await run(command, context)
    return caught.value


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def pids_in(path, count):
    await until(lambda: path.exists() and path.read_text().count("\n") >= count)
    return [int(pid) for pid in path.read_text().split()]


async def gone(pids):
    with trio.move_on_after(SOON):
        while any(alive(pid) for pid in pids):  # noqa: ASYNC110
            await trio.sleep(0.01)
    return not any(alive(pid) for pid in pids)


@pytest.fixture(autouse=True)
def _nothing_left_open():
    if not Path("/proc/self/fd").exists():
        yield
        return
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    # trio's own descriptors of the run are still open here, before and after alike
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_standard_output_is_the_result():
    assert await run(Command("printf", ["%s-%s", "a", "b c"])) == "a-b c"


async def test_both_outputs_are_written_as_they_come_each_in_its_order(tmp_path):
    """The command goes on only once its first words were heard."""
    seen = {"stdout": b"", "stderr": b""}

    def write(data, stream):
        seen[stream] += data
        if all(seen.values()):
            (tmp_path / "heard").touch()

    line = 'echo out 1; echo err 1 >&2; until [ -e "$1" ]; do sleep 0.01; done; echo out 2; echo err 2 >&2; printf end'
    result = await run(sh(line, tmp_path / "heard"), evolve(CONTEXT, write_output=write))
    assert seen == {"stdout": b"out 1\nout 2\nend", "stderr": b"err 1\nerr 2\n"}
    assert result == "out 1\nout 2\nend"


async def test_an_exit_code_fails_with_the_last_words():
    error = await failure(sh("echo much; echo bad >&2; echo worse >&2; exit 7"))
    assert "failed with exit code 7" in str(error)
    assert str(error).endswith("bad\nworse")
    assert (error.exit_code, error.signal, error.stderr_tail) == (7, None, "bad\nworse\n")


async def test_the_message_shows_the_last_lines_only():
    error = await failure(sh("seq 1 100000 >&2; exit 1"))
    assert str(error).endswith("99999\n100000")
    assert len(str(error)) < 500
    assert len(error.stderr_tail) < 9000


async def test_a_signal_is_named():
    error = await failure(sh("kill -KILL $$"))
    assert "was ended by signal SIGKILL (9)" in str(error)
    assert (error.exit_code, error.signal) == (None, 9)


async def test_a_signal_without_a_name_is_a_number():
    error = await failure(sh(f"kill -{signal.SIGRTMIN + 3} $$"))
    assert error.signal == signal.SIGRTMIN + 3


async def test_what_cannot_be_started_fails_at_once_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", AGES)
    plain = tmp_path / "plain"
    plain.write_text("echo hi\n")
    error = await failure(Command("no-such-program-here"))
    assert "'no-such-program-here' could not be started: No such file or directory (ENOENT)" in str(error)
    assert error.exit_code is None
    assert "Permission denied (EACCES)" in str(await failure(Command(plain)))
    assert f"its working directory '{tmp_path}/gone': No such file" in str(
        await failure(Command("true", cwd=tmp_path / "gone"))
    )
    assert "(E2BIG)" in str(await failure(Command("true", ["x" * 5_000_000])))
    assert "could not be started" in str(await failure(Command("true", ["\ud800"])))


async def test_a_full_machine_is_waited_for(monkeypatch):
    """No process left for the moment is no fault of the command."""
    tries = []
    spawn = processes._spawn

    def scarce(*args, **kwargs):
        tries.append(1)
        if len(tries) < 3:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return spawn(*args, **kwargs)

    monkeypatch.setattr(processes, "_spawn", scarce)
    assert await run(Command("echo", ["hi"])) == "hi\n"
    monkeypatch.setattr(processes, "PATIENCE", 0)
    tries.clear()
    assert "(EAGAIN)" in str(await failure(Command("echo", ["hi"])))


async def test_cwd(tmp_path):
    assert await run(Command("pwd", cwd=tmp_path)) == f"{tmp_path}\n"


async def test_standard_input_is_empty_or_what_is_given():
    assert await run(Command("cat")) == ""
    assert await run(Command("cat", stdin="zwölf\n")) == "zwölf\n"
    assert await run(Command("od", ["-An", "-tx1"], stdin=b"\x00\xff")) == " 00 ff\n"
    big = b"0123456789abcde\n" * 100_000
    assert await run(Command("wc", ["-c"], stdin=big)) == "1600000\n"
    assert await run(sh("head -c 3", stdin=big)) == "012"
    assert await run(sh("exec <&-; sleep 0.1; echo done", stdin=big)) == "done\n"


async def test_the_environment(monkeypatch):
    monkeypatch.setenv("FROM_SERVER", "s")
    monkeypatch.setenv("BOTH", "server")
    monkeypatch.setenv("GOFLOW_JOB", "outer")
    show = 'printf "%s|" "$FROM_SERVER" "$BOTH" "$MINE" "$GOFLOW_JOB" "$GOFLOW_EXECUTION_ID" "$GOFLOW_TASK"'
    show += ' "$GOFLOW_ATTEMPT" "$GOFLOW_SCHEDULED_FOR"'
    command = sh(f"set -u; {show}", env={"BOTH": "job", "MINE": "m", "GOFLOW_TASK": "no"})
    assert await run(command) == "s|job|m|job|0123|task|3||"
    at = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    scheduled = await run(command, evolve(CONTEXT, scheduled_for=at))
    assert scheduled == "s|job|m|job|0123|task|3|2030-01-02T03:04:00+00:00|"


async def test_parameters_come_in_the_environment_and_nowhere_else():
    params = {"day": "to-day; rm -rf /", "n": 3, "list": ["ä", None], "odd name!": True, "nul": "a\0b"}
    show = 'printf "%s|" "$GOFLOW_PARAM_DAY" "$GOFLOW_PARAM_N" "$GOFLOW_PARAM_LIST" "$GOFLOW_PARAM_ODD_NAME_"'
    command = sh(f'{show} "${{GOFLOW_PARAM_NUL-none}}"; printf "%s" "$GOFLOW_PARAMS"')
    result = await run(command, evolve(CONTEXT, params=params))
    words, together = result.rsplit("|", 1)
    assert words == 'to-day; rm -rf /|3|["\\u00e4", null]|true|none'
    assert json.loads(together) == params


async def test_a_command_made_at_run_time_is_ended_with_its_attempt(tmp_path):
    """An operator inside an operator: what another task gave reaches its arguments, and a cancel its whole tree."""
    job = Job("made")
    count = job.add(Task("count", sh("echo 12")))

    @job.task(upstream=[count])
    async def mail(context):
        return await sh('echo "$1 rows"', context.results["count"].strip()).run(context)

    @job.task(upstream=[mail])
    async def hangs(context):
        return await sh('sleep 1000 & echo $! > "$1"; sleep 1000', tmp_path / "pid").run(context)

    async with open_engine(jobs=[job]) as engine:
        execution = await engine.submit("made")
        pids = await pids_in(tmp_path / "pid", 1)
        receipt = await execution.cancel()
        assert not any(map(alive, pids))
        record = await execution.wait()
    assert record["mail"].result == "12 rows\n"
    assert record["hangs"].state == "cancelled"
    assert receipt.processes


async def test_a_line_given_as_a_program_is_told_how_to_write_it():
    with pytest.raises(CommandFailed) as caught:
        await run(Command("ls -l /"))
    assert str(caught.value).endswith(
        "a line with arguments is Command('ls', ['-l', '/']), or for a shell with shell=True"
    )


async def test_a_parameter_with_a_type_of_its_own_comes_as_its_text():
    """A date is 2026-11-23 to a shell, as a text would be, and not in the quotes of JSON."""
    at = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
    params = {"day": at.date(), "at": at, "path": Path("/srv"), "days": [at.date()]}
    show = 'printf "%s|" "$GOFLOW_PARAM_DAY" "$GOFLOW_PARAM_AT" "$GOFLOW_PARAM_PATH" "$GOFLOW_PARAM_DAYS"'
    result = await run(sh(show), evolve(CONTEXT, params=params))
    assert result == '2026-11-23|2026-11-23T02:30:00+00:00|/srv|["2026-11-23"]|'


NASTY = [
    "",
    " ",
    "'",
    '"',
    "''\"\"",
    "$(touch /tmp/never)",
    "`id`",
    "; exit 9 #",
    "a\nb\n",
    "\\",
    "\\\\n",
    "$HOME ${x} $1 $$",
    "*",
    "-n",
    "--",
    "é \u2028 \U0001f600",
    "\udcff\udc80",
    "a\tb\rc",
    "%s%n",
    "!!",
    "x" * 100_000,
]


async def test_arguments_arrive_unchanged_through_a_shell_line():
    line = 'for value in "$@"; do printf "%s\\0" "$value"; done'
    assert await run(sh(line, *[text for text in NASTY if len(text) < 1000])) == "".join(
        os.fsencode(text).decode("utf-8", "replace") + "\0" for text in NASTY if len(text) < 1000
    )
    assert await run(sh('printf %s "$1"', NASTY[-1])) == NASTY[-1]


@settings(max_examples=25)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=5))
def test_any_argument_arrives_unchanged(values):
    program = 'printf "%s\\0" "$@" end'
    result = trio.run(run, sh(program, *values))
    assert result == "".join(f"{value}\0" for value in [*values, "end"])


async def test_only_three_descriptors_are_inherited(tmp_path):
    with (tmp_path / "open").open("w") as handle:
        os.set_inheritable(handle.fileno(), True)  # noqa: FBT003
        code = "import os; print(sorted(os.listdir('/proc/self/fd'))[:5], os.getsid(0) == os.getpid())"
        result = await run(python(code))
    assert result == "['0', '1', '2', '3'] True\n"  # 3 is the listing itself


async def test_output_that_is_no_text_is_shown_with_replacements():
    assert await run(Command("printf", ["\\377\\000ok"])) == "\ufffd\0ok"


async def test_a_flood_is_read_and_bounded():
    """50 MB of short lines: the result and the memory stay small, the count is right, the child is not held up."""
    seen = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write = lambda data, _stream: seen.append(len(data))
    result = await run(sh("yes 0123456789abcde | head -c 50000000"), evolve(CONTEXT, write_output=write))
    assert len(result) < RESULT_HEAD + RESULT_TAIL + 100
    assert f"[... {50_000_000 - RESULT_HEAD - RESULT_TAIL:,} bytes dropped ...]" in result
    assert result.startswith("0123456789abcde\n")
    assert sum(seen) == 50_000_000
    assert max(seen) <= 65536
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # KiB


TREE = """
echo $$ >> "$1"
sh -c 'echo $$ >> "$1"; sleep 600 & echo $! >> "$1"; wait' sh "$1" &
setsid sh -c 'echo $$ >> "$1"; trap "" TERM; sleep 600 & echo $! >> "$1"; wait' sh "$1" &
"""


async def cancel_when_ready(command, path, count):
    """Cancel a command that has told its pids; return them. It fails when the command takes long to end."""
    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(command.run, CONTEXT)
            pids = await pids_in(path, count)
            nursery.cancel_scope.cancel()
    return pids


@pytest.fixture
def _patient(monkeypatch):
    """Whoever waits for the grace to be over is late."""
    monkeypatch.setattr(processes, "GRACE", AGES)


@linux
@pytest.mark.usefixtures("_patient")
async def test_cancel_ends_the_whole_tree_even_what_left_the_session(tmp_path):
    pids = await cancel_when_ready(sh(TREE + "wait", tmp_path / "pids"), tmp_path / "pids", 5)
    assert await gone(pids)


@linux
async def test_what_ignores_term_is_killed_after_the_grace(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 0.3)
    line = 'trap \'\' TERM; echo $$ >> "$1"; while :; do sleep 600 & echo $! >> "$1"; wait; done'
    started = time.monotonic()
    pids = await cancel_when_ready(sh(line, tmp_path / "pids"), tmp_path / "pids", 2)
    assert time.monotonic() - started >= 0.3
    assert await gone(pids)


@pytest.mark.usefixtures("_patient")
async def test_a_cancelled_command_can_finish_its_work(tmp_path):
    """It has the grace for that, and its last words are read."""
    seen = []
    line = "trap 'sleep 0.2; echo bye; exit 0' TERM; echo $$ > \"$1\"; while :; do sleep 0.05; done"
    write = lambda data, _stream: seen.append(data)
    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sh(line, tmp_path / "pids").run, evolve(CONTEXT, write_output=write))
            await pids_in(tmp_path / "pids", 1)
            nursery.cancel_scope.cancel()
    assert b"".join(seen).endswith(b"bye\n")  # the shell tells that its `sleep` got the signal, too


@pytest.mark.usefixtures("_patient")
async def test_a_time_out_ends_it():
    with trio.fail_after(SOON), trio.move_on_after(0.1) as scope:
        await Command("sleep", [f"{AGES}"]).run(CONTEXT)
    assert scope.cancelled_caught


@linux
@pytest.mark.parametrize(
    "line",
    [
        'sleep 600 & echo $! > "$1"; echo out',
        'setsid sh -c "trap \'\' TERM HUP; sleep 600" & echo $! > "$1"; echo out',
        'sleep 600 >/dev/null 2>&1 & echo $! > "$1"; echo out',
        'setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $! > "$1"; echo out',
        'sh -c "trap \'\' TERM; while :; do sleep 600; done" & echo $! > "$1"; sleep 0.1; echo out',
    ],
)
@pytest.mark.usefixtures("_patient")
async def test_a_daemon_left_behind_does_not_hold_up_the_task(tmp_path, line):
    assert await run(sh(line, tmp_path / "pids")) == "out\n"
    assert await gone(await pids_in(tmp_path / "pids", 1))


def test_what_is_left_behind_delays_a_task_by_less_than_a_second():
    """There are three waits: for its last words, for it to end in good order, and for the pipes of what was killed."""
    assert processes.LINGER + processes.LEFTOVER + processes.DRAIN < 1


async def test_what_writes_a_little_after_the_exit_is_heard(monkeypatch):
    """As with `exec > >(tee log)`: the shell does not wait for the writer."""
    monkeypatch.setattr(processes, "LINGER", SOON)
    assert await run(sh("(sleep 0.1; echo late) & echo first")) == "first\nlate\n"


async def test_neighbours_are_left_alone():
    """Runs with the same context end each its own."""
    results = []

    async def one(seconds):
        results.append(await run(sh(f"setsid sleep {seconds}; echo {seconds}")))

    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, 0.1)
            nursery.start_soon(one, 0.4)
            with trio.move_on_after(0.2):
                await sh("setsid sleep 600").run(CONTEXT)
    assert sorted(results) == ["0.1\n", "0.4\n"]


async def test_an_output_that_fails_leaves_nothing_running(tmp_path):
    def broken(_data, _stream):
        raise RuntimeError("log")

    with trio.fail_after(SOON), pytest.RaisesGroup(pytest.RaisesExc(RuntimeError), flatten_subgroups=True):
        await sh('echo $$ > "$1"; echo x; sleep 600', tmp_path / "pids").run(evolve(CONTEXT, write_output=broken))
    assert await gone(await pids_in(tmp_path / "pids", 1))


@pytest.mark.usefixtures("_patient")
async def test_without_a_pidfd_it_works_as_well(monkeypatch, tmp_path):
    """As on macOS."""
    monkeypatch.setattr(processes, "_open_pidfd", lambda _pid: None)
    assert await run(Command("echo", ["hi"])) == "hi\n"
    assert (await failure(sh("exit 3"))).exit_code == 3
    pids = await cancel_when_ready(sh('echo $$ > "$1"; sleep 600', tmp_path / "p"), tmp_path / "p", 1)
    assert await gone(pids)


async def test_without_proc_a_group_is_believed_to_live_while_it_has_members(monkeypatch):
    monkeypatch.setattr(processes.reaper, "pids", list)
    assert await processes._group_lives(os.getpgid(0))
    assert not await processes._group_lives(2**22 - 1)


async def test_pids_are_all_looked_at_without_a_counter(monkeypatch):
    """Where /proc/loadavg is missing, or the counter of the pids has wrapped."""
    assert os.getpid() in set(processes._pids_after(2**22))
    monkeypatch.setattr(processes.reaper, "read_file", lambda _path: b"")
    assert os.getpid() in set(processes._pids_after(0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Command(""), "cmd is empty"),
        (lambda: Command(5), "cmd must be text"),
        (lambda: Command("sleep", "10"), "args must be a list"),
        (lambda: Command("sleep", [10]), "argument 1 must be text or a path, got 10; write '10'"),
        (lambda: Command("echo", ["a", "b\0"]), "argument 2 must not contain a NUL"),
        (lambda: Command("x", env={"A": 1}), "environment variable A must be text"),
        (lambda: Command("x", env={"A=B": "1"}), "cannot be the name"),
        (lambda: Command("x", cwd=3), "cwd must be text"),
        (lambda: Command("x", stdin=3), "stdin must be text"),
    ],
)
def test_a_wrong_definition_is_refused_when_it_is_made(make, words):
    with pytest.raises(DefinitionError, match=r"Command: .*") as caught:
        make()
    assert words in str(caught.value)


def test_a_repr_tells_no_secrets():
    text = repr(Command("x", ["a"], env={"TOKEN": "hush"}, stdin="hush"))
    assert text == "Command(cmd='x', args=('a',), cwd=None, shell=False, limits=None)"
    assert hash(Command("x")) == hash(Command("x"))


@pytest.mark.parametrize(("item", "text"), [("as it is", "as it is"), ({"a": [1]}, '{"a":[1]}'), (None, "null")])
async def test_a_command_is_told_its_item(item, text):
    context = TaskContext("job", "id", "each[3]", item=item, index=3)
    output = await Command("echo $GOFLOW_INDEX $GOFLOW_ITEM", shell=True).run(context)
    assert output == f"3 {text}\n"


@pytest.mark.parametrize(
    ("limits", "line", "says"),
    [
        ({"memory": 64 << 20}, "python3 -c 'bytearray(1 << 30)'", "exit code 1; .*MemoryError"),
        ({"cpu_seconds": 1}, "while :; do :; done", "signal SIGXCPU"),
        ({"file_size": 1000}, "exec dd if=/dev/zero of=file bs=4096 count=1", "signal SIGXFSZ|File too large"),
        ({"open_files": 5}, "exec 3</dev/null 4</dev/null 5</dev/null", "exit code"),
    ],
    ids=["memory", "cpu", "file", "descriptors"],
)
async def test_a_program_that_takes_too_much_is_ended_by_its_limit(limits, line, says, tmp_path):
    error = await failure(sh(line, cwd=tmp_path, limits=ProcessLimits(**limits)))
    assert re.search(says, str(error), re.DOTALL), error


@linux
async def test_all_limits_hold_for_what_a_program_starts_and_its_arguments_arrive():
    limits = ProcessLimits(memory=1 << 40, cpu_seconds=77, file_size=1025, open_files=44, processes=3333)
    told = await run(sh('cat /proc/self/limits; echo "$1"', "a 'b' $c", limits=limits))
    found = {line[:20].strip(): line[26:].split()[0] for line in told.splitlines() if line.startswith("Max ")}
    assert told.splitlines()[-1] == "a 'b' $c"
    assert (found["Max address space"], found["Max cpu time"]) == (str(1 << 40), "77")
    assert (found["Max file size"], found["Max open files"], found["Max processes"]) == ("1536", "44", "3333")


@pytest.mark.parametrize("wrong", [{"memory": 0}, {"cpu_seconds": 1.5}, {"processes": True}, {"open_files": "9"}])
def test_a_limit_that_is_none_is_refused(wrong):
    with pytest.raises(DefinitionError, match=f"ProcessLimits: {next(iter(wrong))} must be a whole number"):
        ProcessLimits(**wrong)
    with pytest.raises(DefinitionError, match="limits must be ProcessLimits"):
        Command("true", limits=wrong)
