"""A job refuses a wrong definition with the job, the place and the mend; edges are drawn by task or by name."""

import math
from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from goflow_trio.errors import CycleError, DefinitionError, NotFound, ScheduleError, UnknownTask
from goflow_trio.jobs.job import Job, build_job
from goflow_trio.jobs.retry import ConstantDelay
from goflow_trio.jobs.task import Task
from goflow_trio.jobs.trigger_rules import TriggerRule


def work():
    return None


def job_of(*names, name="etl"):
    job = Job(name)
    for task in names:
        job.add(Task(task, work))
    return job


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": "maybe"}, "job 'etl': overlap must be one of allow, skip, queue, cancel, got 'maybe'"),
        ({"misfire": "none"}, "job 'etl': misfire must be one of latest, skip, all, got 'none'"),
        ({"dst": "twice"}, "job 'etl': dst must be one of once, reference, got 'twice'"),
        ({"timeout": 0}, "job 'etl': timeout must be a number of seconds above 0, got 0"),
        ({"timeout": math.nan}, "job 'etl': timeout must be a number of seconds above 0, got nan"),
        ({"timeout": "1h"}, "job 'etl': timeout must be a number of seconds above 0, got '1h'"),
        ({"catchup_window": -1}, "job 'etl': catchup_window must be a number of seconds above 0, got -1"),
        ({"catchup_window": math.inf}, "job 'etl': catchup_window must be a number of seconds above 0, got inf"),
        ({"jitter": -1}, "job 'etl': jitter must be a whole number of 1 or more, or None, got -1"),
        ({"max_active_tasks": 0}, "job 'etl': max_active_tasks must be a whole number of 1 or more, or None, got 0"),
        ({"max_active_tasks": True}, "job 'etl': max_active_tasks must be a whole number of 1 or more, or None"),
        ({"max_active_executions": 1.5}, "job 'etl': max_active_executions must be a whole number of 1 or more"),
        ({"params": ["a"]}, "job 'etl': params must be a mapping from names to defaults, or an attrs class, got ['a']"),
        (
            {"params": {1: "a"}},
            "job 'etl': params must be a mapping from names to defaults, or an attrs class, got {1: 'a'}",
        ),
        ({"start": datetime(2026, 1, 1)}, "job 'etl': start must be a datetime with a time zone, got"),  # noqa: DTZ001
        ({"end": "2026-01-01"}, "job 'etl': end must be a datetime with a time zone, got '2026-01-01'"),
        ({"on_failure": 5}, "job 'etl': on_failure takes operators or callables, got 5"),
        ({"on_success": [work, "mail"]}, "job 'etl': on_success takes operators or callables, got 'mail'"),
        ({"tags": "nightly"}, "job 'etl': tags must be a list of names, got 'nightly'"),
    ],
)
def test_a_wrong_argument_is_refused_naming_the_job_and_the_mend(options, message):
    with pytest.raises(DefinitionError) as caught:
        Job("etl", **options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("options", [{"schedule": "nonsense"}, {"schedule": 5}, {"timezone": "Mars/Olympus"}])
def test_a_wrong_schedule_or_zone_is_refused_naming_the_job(options):
    with pytest.raises(ScheduleError, match=r"^job 'etl': "):
        Job("etl", **options)


def test_a_job_has_the_documented_defaults():
    job = Job("etl")
    assert (job.schedule, job.schedule_text, job.active, job.timezone) == (None, "", False, "UTC")
    assert (job.timeout, job.max_active_executions, job.max_active_tasks) == (None, None, None)
    assert (job.overlap, job.misfire, job.dst, job.jitter) == ("allow", "latest", "once", 0)
    assert (job.tags, job.description, job.owner, job.on_failure, job.on_success) == ((), "", "", (), ())
    assert (dict(job.params), job.tasks, len(job)) == ({}, (), 0)


def test_a_job_keeps_what_it_was_given():
    job = Job("etl", tags=["a", "b"], on_failure=work, on_success=[work], start=datetime(2026, 1, 1, tzinfo=UTC))
    assert (job.tags, job.on_failure, job.on_success) == (("a", "b"), (work,), (work,))


def test_default_parameters_are_a_copy_that_nobody_changes():
    given = {"day": "today"}
    job = Job("etl", params=given)
    given["day"] = "tomorrow"
    assert job.params == {"day": "today"}
    assert isinstance(job.params, MappingProxyType)


def test_any_object_with_next_after_is_a_schedule():
    class Never:
        def next_after(self, instant):
            return None

    schedule = Never()
    assert Job("etl", schedule=schedule).schedule is schedule


def test_a_schedule_given_as_text_is_kept_as_it_was_written():
    assert Job("etl", schedule="0 3 * * *").schedule_text == "0 3 * * *"


def test_tasks_are_reached_by_name_and_in_the_order_they_were_added():
    job = job_of("b", "a")
    assert [task.name for task in job] == ["b", "a"]
    assert [task.name for task in job.tasks] == ["b", "a"]
    assert len(job) == 2
    assert "a" in job
    assert "c" not in job
    assert job["a"].name == "a"
    assert repr(job) == "<Job 'etl', 2 tasks>"


def test_an_unknown_task_is_a_look_up_error_that_names_job_and_task():
    with pytest.raises(UnknownTask, match=r"^job 'etl' has no task 'x'$") as caught:
        Job("etl")["x"]
    assert isinstance(caught.value, NotFound)
    assert isinstance(caught.value, LookupError)


def test_a_second_task_of_a_name_is_refused():
    job = job_of("a")
    with pytest.raises(DefinitionError, match=r"^job 'etl' has a task 'a' already; task names are unique in a job$"):
        job.add(Task("a", work))


@pytest.mark.parametrize("thing", [None, "a", work])
def test_add_takes_a_task(thing):
    with pytest.raises(DefinitionError, match=r"^job 'etl': add takes a Task, got "):
        Job("etl").add(thing)


def test_set_downstream_takes_tasks_and_names_and_draws_the_edge_of_the_operator():
    job = job_of("a", "b", "c", "d")
    job.set_downstream("a", "b")
    job.set_downstream(job["a"], job["c"])
    job.set_downstream("b", job["d"])
    job.set_downstream(job["c"], "d")
    job["a"] >> [job["b"], job["c"]]
    assert job.graph == {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}
    job.validate()


def test_set_downstream_refuses_tasks_that_are_not_in_the_job():
    job = job_of("a")
    twin = Task("a", work)
    message = r"^job 'etl' has no task 'x'; add it with job.add"
    for draw in (
        lambda: job.set_downstream("a", "x"),
        lambda: job.set_downstream("x", "a"),
        lambda: job.set_downstream(job["a"], Task("x", work)),
    ):
        with pytest.raises(DefinitionError, match=message):
            draw()
    with pytest.raises(DefinitionError, match=r"^job 'etl' has no task 'a'"):
        job.set_downstream(twin, "a")
    with pytest.raises(DefinitionError, match=r"^task 'a' cannot be its own downstream"):
        job.set_downstream("a", "a")


@pytest.mark.parametrize("thing", [None, 5, work])
def test_an_edge_from_something_that_is_no_task_is_a_definition_error(thing):
    job = job_of("a")
    with pytest.raises(DefinitionError, match=r"^job 'etl': an edge joins tasks or names of tasks, got "):
        job.set_downstream(thing, "a")


def test_the_decorator_makes_a_task_named_after_the_function_that_is_still_callable():
    job = Job("etl")

    @job.task
    def extract(number):
        return number + 1

    assert isinstance(extract, Task)
    assert job["extract"] is extract
    assert extract(1) == 2


def test_the_decorator_takes_the_options_of_a_task():
    job = Job("etl")

    @job.task(name="load it", retries=3, retry_delay=ConstantDelay(5), timeout=300, trigger_rule="allDone")
    async def load(context):
        return context

    assert load.name == "load it"
    assert (load.retries, load.retry_delay, load.timeout) == (3, ConstantDelay(5), 300)
    assert load.trigger_rule is TriggerRule.ALL_DONE


def test_the_decorator_draws_edges_from_a_task_a_name_or_a_list_of_both():
    job = job_of("a")

    @job.task(upstream="a")
    def b():
        return None

    @job.task(upstream=b)
    def c():
        return None

    @job.task(upstream=["a", b, c])
    def d():
        return None

    assert job.graph == {"a": ["b", "d"], "b": ["c", "d"], "c": ["d"], "d": []}


def test_the_decorator_refuses_an_unknown_upstream_and_adds_nothing():
    job = Job("etl")
    with pytest.raises(DefinitionError, match=r"^job 'etl' has no task 'missing'"):
        job.task(upstream=["missing"])(work)
    assert len(job) == 0


def test_the_decorator_refuses_what_a_task_refuses():
    job = Job("etl")
    with pytest.raises(DefinitionError, match=r"task 'work': retries must be 0 or more, got -1"):
        job.task(retries=-1)(work)
    job.task(work)
    with pytest.raises(DefinitionError, match=r"has a task 'work' already"):
        job.task(work)


def test_a_function_without_a_name_needs_one():
    with pytest.raises(DefinitionError, match=r"task name is empty; give it one"):
        Job("etl").task(name="")(work)


def test_a_cycle_is_refused_and_printed_as_a_path():
    job = job_of("start", "a", "b", "c")
    job["start"] >> job["a"] >> job["b"] >> job["c"] >> job["a"]
    with pytest.raises(CycleError) as caught:
        job.validate()
    assert caught.value.job == "etl"
    assert caught.value.path == ["a", "b", "c", "a"]
    expected = "job 'etl': its tasks form a cycle: a -> b -> c -> a; remove one of these edges"
    assert str(caught.value) == expected


def test_an_edge_to_a_task_that_was_never_added_is_refused():
    job = job_of("a")
    job["a"] >> Task("lost", work)
    message = r"^job 'etl': the edge 'a' >> 'lost' leads to a task that is not in the job; add it with job.add"
    with pytest.raises(DefinitionError, match=message):
        job.validate()


def test_an_edge_to_the_namesake_in_another_job_is_refused():
    job, other = job_of("a", "b"), job_of("a", "b", name="other")
    job["a"] >> other["b"]
    with pytest.raises(DefinitionError, match=r"^job 'etl': the edge 'a' >> 'b' leads to a task that is not in"):
        job.validate()


def test_a_job_without_tasks_is_valid():
    Job("etl").validate()


def test_a_job_comes_from_itself_or_from_its_factory():
    job = job_of("a")
    assert build_job(job) is job
    assert build_job(lambda: job) is job


def test_building_validates():
    job = job_of("a", "b")
    job["a"] >> job["b"] >> job["a"]
    with pytest.raises(CycleError):
        build_job(job)
    with pytest.raises(CycleError):
        build_job(lambda: job)


def broken():
    raise KeyError("no such column")


def wrong():
    return "not a job"


def forgetful():
    return None


async def late():
    return Job("late")


def refusing():
    return Job("etl", overlap="maybe")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (broken, "job factory broken failed: KeyError: 'no such column'"),
        (wrong, "job factory wrong returned 'not a job'; it must return a Job"),
        (forgetful, "job factory forgetful returned None; it must return a Job"),
        (late, "job factory late is async; make it a plain function that returns a Job"),
        (refusing, "job 'etl': overlap must be one of"),
        (5, "a job is a Job or a function that returns one, got 5"),
        (None, "a job is a Job or a function that returns one, got None"),
        ("etl", "a job is a Job or a function that returns one, got 'etl'"),
    ],
)
def test_a_factory_that_gives_no_job_is_refused_by_name(factory, message):
    with pytest.raises(DefinitionError) as caught:
        build_job(factory)
    assert str(caught.value).startswith(message)


def test_the_cause_of_a_failed_factory_is_kept():
    with pytest.raises(DefinitionError) as caught:
        build_job(broken)
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_exit_in_a_factory_is_its_failure_and_not_the_programs():
    def leaving():
        raise SystemExit(3)

    with pytest.raises(DefinitionError, match=r"^job factory leaving failed: SystemExit: 3$"):
        build_job(leaving)
