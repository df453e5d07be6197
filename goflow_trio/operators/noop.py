"""The operator that does nothing: a joint in the graph, and the yardstick of the engine's own cost."""

from __future__ import annotations

from attrs import frozen

from goflow_trio.jobs.context import TaskContext


@frozen
class Noop:
    """Succeed at once with the result None."""

    async def run(self, context: TaskContext) -> None:
        """Do nothing."""
