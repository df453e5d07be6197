"""Whether a token is that of a job's webhook. It says no in the same way, and as fast, whatever the reason is."""

from __future__ import annotations

import hmac
import logging
import secrets
from hashlib import sha256

from goflow_trio.errors import OperatorError
from goflow_trio.jobs.job import Job

logger = logging.getLogger("goflow_trio.hooks")


def opens(job: Job | None, token: str) -> bool:
    """Return whether a token is that of a job; never for no job, one without a webhook, or a secret that is not there.

    Hashes are compared, so that time does not tell how long the right one is.
    """
    expected = _token_of(job) or secrets.token_hex()
    return hmac.compare_digest(_digest(expected), _digest(token))


def _token_of(job: Job | None) -> str:
    webhook = None if job is None else job.webhook
    if job is None or webhook is None:
        return ""
    if isinstance(webhook, str):
        return webhook
    try:
        return str(webhook.reveal())
    except OperatorError as error:  # for whoever runs the server, and none of a caller's business
        logger.error("the webhook of job %s lets nobody in: %s", job.name, error)  # noqa: TRY400
        return ""


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "replace")).digest()
