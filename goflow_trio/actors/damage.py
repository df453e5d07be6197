"""What of a store cannot be read. It is set aside: left where it is, never guessed at, never written over."""

from __future__ import annotations

import logging

from attrs import Factory, define

from goflow_trio.actors.health import Cause, Condition
from goflow_trio.core import limits

logger = logging.getLogger("goflow_trio.store")


@define
class Damage:
    """The damaged records that were met so far.

    Args:
        records: what is wrong, by key.
        count: how many there are, also where they are too many to be named.
    """

    records: dict[str, str] = Factory(dict)
    count: int = 0

    def note(self, key: str, error: object) -> None:
        """Take a record that cannot be read into the list; once."""
        if key in self.records:
            return
        self.count += 1
        if len(self.records) < limits.DAMAGED_RECORDS:
            self.records[key] = str(error)
        logger.error("damaged record set aside: %s: %s", key, str(error).removeprefix(f"{key}: "))

    def cause(self) -> Cause | None:
        """Return what health says of it: work goes on with the rest, so it blocks nothing."""
        if not self.count:
            return None
        key, error = next(iter(self.records.items()))
        text = error if key in error else f"{key}: {error}"
        more = f" (and {self.count - 1} more: goflow-trio store info lists them)" if self.count > 1 else ""
        return Cause(Condition.DEGRADED, "damaged record", f"set aside: {text}{more}", blocks=False)
