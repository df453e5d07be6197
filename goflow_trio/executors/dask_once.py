"""A plugin that keeps a Dask scheduler from running our calls a second time when their worker died.

Dask forgives each call `allowed-failures` (3) dead workers and runs it again, which nobody sees: bad for work that is
not idempotent, and the engine counts attempts itself. This sets the count for our calls alone to the last that is
forgiven, and leaves the cluster's setting, and everybody else's calls, as they are.

It runs inside the scheduler, which therefore needs goflow-trio as the workers do.
"""

from __future__ import annotations

from typing import Any, Final

from distributed.diagnostics.plugin import SchedulerPlugin

PREFIX: Final = "goflow-trio-"
"""How the keys of our calls begin."""


class RunOnce(SchedulerPlugin):
    """Count our calls as often failed as may be, when they are sent to a worker."""

    name = "goflow-trio-run-once"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Begin."""
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *_args: Any, **_kwargs: Any) -> None:  # noqa: ARG002
        """Look at each change of a call's state."""
        if finish == "processing" and str(key).startswith(PREFIX):
            self._scheduler.tasks[key].suspicious = self._scheduler.allowed_failures
