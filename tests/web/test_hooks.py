"""The webhook of a job over a real server: its own token opens it, nothing else does, and no answer tells why."""

from __future__ import annotations

import json
import logging

import pytest

from goflow_trio import Job, Noop, Secret, Security, Task
from goflow_trio.core import limits
from tests.web.test_api import ended, serving

TOKEN = "the-token-of-one-job"
SERVER_TOKEN = "the-token-of-the-server"


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """Return the options of a server with a token file."""
    monkeypatch.setenv("DEPLOY_TOKEN", "another-job's-token")
    monkeypatch.delenv("NOWHERE", raising=False)
    file = tmp_path / "tokens"
    file.write_text(f"operate {SERVER_TOKEN} alice\n")
    file.chmod(0o600)
    return {
        "security": Security(token_file=file),
        "more": [
            hooked("etl", TOKEN, params={"day": "today"}),
            hooked("a/b", TOKEN),
            hooked("deploy", Secret("DEPLOY_TOKEN")),
            hooked("unset", Secret("NOWHERE")),
        ],
    }


def hooked(name, token, **options):
    job = Job(name, webhook=token, **options)
    job.add(Task("t", Noop()))
    return job


async def call(client, job="etl", token=TOKEN, **options):
    headers = {"X-Hook-Token": token, **options.pop("headers", {})}
    return await client.post(f"/api/jobs/{job}/hook", headers=headers, **options)


async def test_the_token_of_a_job_runs_it_with_the_body_as_parameters(guarded):
    async with serving(**guarded) as client:
        answer = await call(client, json={"day": "monday"}, headers={"Idempotency-Key": "1"})
        assert answer.status_code == 200
        assert (answer.json()["success"], answer.json()["job"]) == (True, "etl")
        again = await call(client, headers={"Idempotency-Key": "1"})
        assert again.json()["id"] == answer.json()["id"]
        assert (await call(client, token="another-job's-token", job="deploy")).status_code == 200
        assert (await call(client, job="a%2Fb")).status_code == 200
        bearer = await client.post("/api/jobs/etl/hook", headers={"Authorization": f"Bearer {TOKEN}"})
        assert bearer.status_code == 200
        client.headers["Authorization"] = f"Bearer {SERVER_TOKEN}"
        record = await ended(client, answer.json()["id"])
        assert (record["state"], record["trigger"], record["params"]) == ("successful", "webhook", {"day": "monday"})


async def test_every_reason_to_refuse_has_the_same_answer(guarded):
    """Also the job's token opens no other route, and the server's token no webhook."""
    async with serving(**guarded) as client:
        answers = [
            await call(client, token="wrong"),
            await call(client, token=SERVER_TOKEN),
            await call(client, job="deploy"),
            await call(client, job="noop-1"),
            await call(client, job="no-such-job"),
            await call(client, job="unset"),
            await call(client, job="unset", token="", headers={"Authorization": "Bearer None"}),
        ]
        assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
        assert answers[0].headers["www-authenticate"] == 'Bearer realm="webhook"'
        for job in ("etl", "no-such-job"):
            missing = await client.post(f"/api/jobs/{job}/hook", json={"day": "monday"})
            assert (missing.status_code, missing.json()["detail"]) == (
                401,
                "a webhook needs the token of its job: send it as `X-Hook-Token: …`",
            )
        for path in ("/api/jobs/etl/submit", "/api/jobs/etl/hook/", "/api/jobs/a/b/hook", "/api/jobs/etl%2Fhook"):
            theirs = await client.post(path, headers={"X-Hook-Token": TOKEN, "Authorization": f"Bearer {TOKEN}"})
            assert theirs.status_code == 401, path
        assert (await client.get("/api/jobs/etl/hook", headers={"X-Hook-Token": TOKEN})).status_code == 401
        headers = {"Authorization": f"Bearer {SERVER_TOKEN}"}
        assert (await client.get("/api/executions", headers=headers)).json()["executions"] == []


async def test_who_guesses_is_slowed_down_and_a_right_token_is_not(guarded):
    async with serving(**guarded) as client:
        for _ in range(limits.WRONG_TOKENS):
            assert (await call(client, token="wrong")).status_code == 401
        slowed = await call(client, job="no-such-job", token="wrong")
        assert (slowed.status_code, int(slowed.headers["retry-after"]) > 0) == (429, True)
        assert (await call(client)).status_code == 200


async def test_a_right_bearer_token_of_a_job_counts_as_no_wrong_one_of_the_server(guarded):
    async with serving(**guarded) as client:
        for _ in range(limits.WRONG_TOKENS + 1):
            answer = await client.post("/api/jobs/etl/hook", headers={"Authorization": f"Bearer {TOKEN}"})
            assert answer.status_code == 200
        assert (await call(client, token="wrong")).status_code == 401


@pytest.mark.parametrize("body", [b"[1]", b'"day"', b"{", b'{"day":1,"day":2}'])
async def test_a_body_that_is_no_object_is_refused(guarded, body):
    async with serving(**guarded) as client:
        assert (await call(client, content=body)).status_code == 400


async def test_a_page_of_another_origin_may_not_and_what_was_done_is_told_without_the_token(guarded, caplog):
    with caplog.at_level(logging.INFO):
        async with serving(**guarded) as client:
            assert (await call(client, headers={"Origin": "https://evil.example"})).status_code == 403
            assert (await call(client, headers={"Host": "evil.example"})).status_code == 421
            assert (await call(client)).status_code == 200
            assert (await call(client, job="unset")).status_code == 401
    told = [json.loads(record.message) for record in caplog.records if record.name == "goflow_trio.audit"]
    assert [(line["path"], line["status"]) for line in told] == [
        ("/api/jobs/etl/hook", 403),
        ("/api/jobs/etl/hook", 421),
        ("/api/jobs/etl/hook", 200),
        ("/api/jobs/unset/hook", 401),
    ]
    assert "the webhook of job unset lets nobody in: secret 'NOWHERE' is not in the environment" in caplog.text
    assert TOKEN not in caplog.text


async def test_without_tokens_of_the_server_a_webhook_still_has_its_own(guarded):
    async with serving(more=guarded["more"]) as client:
        assert (await call(client, token="wrong")).status_code == 401
        assert (await call(client)).status_code == 200


async def test_below_a_path_of_a_proxy(guarded):
    security = Security(token_file=guarded["security"].token_file, root_path="/flow")
    async with serving(more=guarded["more"], security=security) as client:
        for path in ("/flow/api/jobs/etl/hook", "/api/jobs/etl/hook", "/flow/api/jobs/a%2Fb/hook"):
            assert (await client.post(path, headers={"X-Hook-Token": TOKEN})).status_code == 200
        assert (await client.post("/flow/api/jobs/etl/submit", headers={"X-Hook-Token": TOKEN})).status_code == 401
