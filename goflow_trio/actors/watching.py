"""Looks for files and runs the jobs that wait for them, each version of a file once. One actor for each watched job.

Looking is a walk of folders in a thread of its own, at most one at a time for each job. A submit carries a key of the
version, so one that is seen again, by this engine or the next, is not run again.
"""

from __future__ import annotations

import glob
import logging
from itertools import islice
from pathlib import Path

import trio
from attrs import frozen

from goflow_trio.actors.executions import Executions
from goflow_trio.actors.submitting import submit
from goflow_trio.core import limits
from goflow_trio.errors import EngineClosed, GoflowError, Overloaded, StoreUnavailable
from goflow_trio.jobs.watch import FileWatch

logger = logging.getLogger("goflow_trio.scheduler")


@frozen
class Version:
    """A file as it was found."""

    path: str
    changed: int
    size: int

    def key(self) -> str:
        """Return what tells it from all others."""
        return f"file {self.path} {self.changed} {self.size}"


async def watch(job: str, what: FileWatch, executions: Executions) -> None:
    """Run a job for each version of each file that matches, until cancelled.

    Args:
        job: the job's name.
        what: which files.
        executions: where it is run.
    """
    limiter = trio.CapacityLimiter(1)
    before: set[Version] = set()
    done: set[Version] = set()
    while True:
        found = await trio.to_thread.run_sync(look, what.pattern, limiter=limiter, abandon_on_cancel=True)
        if len(found) > limits.WATCHED_FILES:
            logger.warning(
                "job %s: more than %d files match %s; the others wait until some are gone",
                job,
                limits.WATCHED_FILES,
                what.pattern,
            )
        seen = set(found[: limits.WATCHED_FILES])
        done &= seen
        for version in sorted(seen & before - done, key=lambda version: (version.changed, version.path)):
            if await _submit(job, version, executions):
                done.add(version)
        before = seen
        await trio.sleep(what.every)


async def _submit(job: str, version: Version, executions: Executions) -> bool:
    """Submit the run of a version; tell whether that is settled, and not to be tried at the next look."""
    try:
        await submit(executions, job, {"path": version.path}, idempotency_key=version.key(), trigger="file")
    except (StoreUnavailable, Overloaded) as error:
        logger.warning("job %s: the run for %s waits: %s", job, version.path, error)
        return False
    except EngineClosed:
        await trio.sleep_forever()
    except GoflowError:
        logger.exception("job %s could not be run for %s", job, version.path)
    return True


def look(pattern: str) -> list[Version]:
    """Return the files that match, at most one more than `limits.WATCHED_FILES`."""
    found = []
    names = glob.iglob(pattern, recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
    for name in islice(names, limits.WATCHED_FILES + 1):
        path = Path(name)
        try:
            status = path.stat()
        except OSError:  # gone, or not ours to see
            continue
        if path.is_file():
            found.append(Version(str(path.absolute()), status.st_mtime_ns, status.st_size))
    return found
