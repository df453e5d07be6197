"""A context made by hand is enough to test an operator: it has defaults, and its outlets lead nowhere."""

import pytest
from attrs.exceptions import FrozenInstanceError

from goflow_trio.jobs.context import TaskContext


def test_three_names_make_a_context():
    context = TaskContext("job", "id", "task")
    assert (context.attempt, dict(context.params), dict(context.results)) == (1, {}, {})
    assert (context.scheduled_for, context.deadline) == (None, float("inf"))
    context.log("nobody hears this")
    context.progress(1, 2)


def test_defaults_cannot_be_changed_for_others():
    with pytest.raises(TypeError):
        TaskContext("job", "id", "task").params["x"] = 1
    with pytest.raises(FrozenInstanceError):
        TaskContext("job", "id", "task").attempt = 2


def test_output_and_progress_go_where_the_context_was_told():
    said, done = [], []
    context = TaskContext("job", "id", "task", log=said.append, report_progress=lambda *far: done.append(far))
    context.log("text")
    context.progress(3)
    context.progress(3, 10)
    assert (said, done) == (["text"], [(3, None), (3, 10)])
