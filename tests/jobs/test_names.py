"""Which names are allowed: 1 to 255 bytes of UTF-8 in NFC, printable on one line, and no path of a file system."""

import pytest

from goflow_trio.errors import DefinitionError
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.names import NAME_BYTES, check_name, did_you_mean
from goflow_trio.jobs.task import Task


def work():
    return None


ALLOWED = [
    "a",
    "my-job",
    "with space inside",
    "a/b",
    "../up",
    "...",
    ".hidden",
    "a:b?c#d%2F",
    "<img src=x>",
    "ночь",
    "\u05e9\u05dc\u05d5\u05dd",
    "caf\u00e9",
    "日本語",
    "\U0001f680",
    "x" * NAME_BYTES,
    "é" * 127 + "x",
]

REFUSED = [
    ("", "job name is empty; give it one"),
    (".", "job name '.' may not be '.', '..', or start or end with space"),
    ("..", "job name '..' may not be '.', '..', or start or end with space"),
    (" ", "job name ' ' may not be '.', '..', or start or end with space"),
    (" a", "job name ' a' may not be"),
    ("a ", "job name 'a ' may not be"),
    ("\u00a0a", "or start or end with space"),
    ("a\n", "or start or end with space"),
    ("a\nb", "job name 'a\\nb' has control characters; leave them out"),
    ("a\r\nb", "has control characters"),
    ("a\x00b", "has control characters"),
    ("a\x1b[31mb", "has control characters"),
    ("a\x7fb", "has control characters"),
    ("a\x85b", "has control characters"),
    ("a\u2028b", "has control characters"),
    ("a\u2029b", "has control characters"),
    ("a\ud800b", "has control characters"),
    ("x" * (NAME_BYTES + 1), "is longer than 255 bytes; shorten it"),
    ("é" * 128, "is longer than 255 bytes; shorten it"),
    ("x" * 10_000, "…' is longer than 255 bytes"),
    ("cafe\u0301", "is not in Unicode normal form C; normalise it"),
    (None, "job name must be text, got NoneType"),
    (7, "job name must be text, got int"),
    (b"a", "job name must be text, got bytes"),
]


@pytest.mark.parametrize("name", ALLOWED)
def test_an_allowed_name_is_returned_as_it_is(name):
    assert check_name(name, "job") is name


@pytest.mark.parametrize(("name", "message"), REFUSED)
def test_a_refused_name_says_what_is_named_and_how_to_mend_it(name, message):
    with pytest.raises(DefinitionError) as caught:
        check_name(name, "job")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("name", "message"), REFUSED)
def test_jobs_and_tasks_refuse_the_same_names(name, message):
    with pytest.raises(DefinitionError, match=r"^job name "):
        Job(name)
    with pytest.raises(DefinitionError, match=r"^task name "):
        Task(name, work)


def test_tags_are_names_of_something_named():
    with pytest.raises(DefinitionError, match=r"^job 'etl': tag name is empty"):
        Job("etl", tags=["nightly", ""])


def test_a_name_that_there_is_not_is_told_those_that_are_near():
    jobs = ["nightly", "nightly-2", "hourly"]
    assert did_you_mean("nigthly", jobs) == "; did you mean 'nightly' or 'nightly-2'?"
    assert did_you_mean("x", jobs) == did_you_mean("", jobs) == did_you_mean("nightly", []) == ""
