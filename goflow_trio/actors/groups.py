"""Exceptions out of nurseries: raised bare where only one thing went wrong, since that is what a caller can catch."""

from __future__ import annotations


def only_error(group: BaseException) -> BaseException:
    """Return the one exception in a group, however deep, or the group if there are several; itself, if it is none."""
    error = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
