"""Exceptions out of nurseries: raised bare where only one thing went wrong, since that is what a caller can catch."""

from __future__ import annotations


def only_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one exception in a group, however deep, or the group if there are several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
