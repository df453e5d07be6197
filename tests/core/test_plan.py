"""How a job is laid out for the machine, and what of it has a digest."""

import pytest

from goflow_trio.core import limits
from goflow_trio.core.plan import plan_job
from goflow_trio.errors import DefinitionError
from tests.core.driver import job_with, task


def test_a_plan_keeps_order_edges_and_counts():
    a, b, c = task("a"), task("b"), task("c", trigger_rule="allDone")
    a >> [c, b]
    b >> c
    plan = plan_job(job_with(c, a, b, max_active_tasks=3, timeout=9))
    assert plan.names == ("c", "a", "b")
    assert [made.downstream for made in plan.tasks] == [(), (0, 2), (0,)]
    assert (plan.upstreams, plan.max_active, plan.timeout) == ((2, 0, 1), 3, 9)
    assert [made.is_cleanup for made in plan.tasks] == [True, False, False]


def test_equal_shapes_have_equal_digests_and_a_changed_graph_another():
    def plan(rule="allDone", *, edge=True):
        a, b = task("a"), task("b", trigger_rule=rule)
        if edge:
            a >> b
        return plan_job(job_with(a, b))

    assert plan().digest == plan().digest
    assert len({plan().digest, plan("allSuccessful").digest, plan(edge=False).digest}) == 3


def test_a_first_task_with_the_rule_all_done_is_no_clean_up():
    plan = plan_job(job_with(task("a", trigger_rule="allDone")))
    assert not plan.tasks[0].is_cleanup


def test_a_job_of_too_many_tasks_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "TASKS_PER_JOB", 2)
    plan_job(job_with(task("a"), task("b")))
    with pytest.raises(DefinitionError, match=r"^job 'job' has 3 tasks; at most 2 are supported$"):
        plan_job(job_with(task("a"), task("b"), task("c")))
