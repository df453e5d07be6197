"""The recipe for signing in with OpenID Connect, against a toy provider: a browser, the guard, and what must fail."""

from __future__ import annotations

import base64
import json
import logging
import re
import secrets
import time
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import trio
from httpx2 import AsyncClient

pytest.importorskip("authlib", reason="needs the extra auth")

from hypercorn.config import Config
from hypercorn.trio import serve
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from quart import redirect, request
from quart_trio import QuartTrio

from goflow_trio.core import limits
from goflow_trio.web.guard import Role
from tests.examples.test_examples import FOLDER, load
from tests.patience import SOON

CLIENT = ("goflow", "the-secret-of-goflow")
PAGE = {"Accept": "text/html"}


class Provider:
    """A provider at which everybody is who `claims` says; what it claims and signs with can be bent."""

    def __init__(self):
        self.key = self.published = RSAKey.generate_key(2048, {"kid": "1", "use": "sig"})
        self.issuer = ""
        self.claims = {"sub": "7", "email": "alice@example.org", "email_verified": True}
        self.codes = {}
        self.asked = {}
        self.app = QuartTrio("provider")
        self.app.add_url_rule("/.well-known/openid-configuration", "metadata", self.metadata)
        self.app.add_url_rule("/authorize", "authorize", self.authorize)
        self.app.add_url_rule("/token", "token", self.token, methods=["POST"])
        self.app.add_url_rule("/keys", "keys", self.keys)

    async def metadata(self):
        paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return {"issuer": self.issuer, **{name: f"{self.issuer}/{path}" for name, path in paths.items()}}

    async def authorize(self):
        asked = self.asked = request.args
        assert (asked["client_id"], asked["response_type"]) == (CLIENT[0], "code")
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe()
        self.codes[code] = dict(asked)
        return redirect(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    async def token(self):
        form = await request.form
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        client = request.authorization
        if (
            asked is None
            or (client.username, client.password) != CLIENT
            or (asked["code_challenge"], asked["redirect_uri"]) != (challenge, form["redirect_uri"])
        ):
            return {"error": "invalid_grant"}, 400
        claims = {"iss": self.issuer, "aud": CLIENT[0], "exp": int(time.time()) + 60, "nonce": asked["nonce"]}
        id_token = jwt.encode({"alg": "RS256", "kid": "1"}, {**claims, **self.claims}, self.key)
        return {"access_token": "unused", "token_type": "Bearer", "id_token": id_token}

    async def keys(self):
        return KeySet([self.published]).as_dict(private=False)


@asynccontextmanager
async def world(**security):
    """Yield a provider, the login of the example, and a browser that is at the server."""
    example, provider = load("oidc_login"), Provider()
    config = Config()
    config.bind = ["127.0.0.1:0"]
    with trio.fail_after(2 * SOON):
        async with trio.open_nursery() as nursery:
            (provider.issuer,) = await nursery.start(partial(serve, provider.app, config))
            login = example.OidcLogin(
                provider.issuer,
                *CLIENT,
                key=secrets.token_urlsafe(),
                roles={"alice@example.org": Role.OPERATE, "bob@example.org": Role.READ},
            )
            gf = example.make_goflow(login, **security)
            (url,) = await nursery.start(partial(gf.serve, "127.0.0.1:0", grace=0))
            async with AsyncClient(base_url=url + security.get("root_path", ""), follow_redirects=True) as browser:
                yield provider, login, browser
            nursery.cancel_scope.cancel()


def told(caplog, event):
    """Return what the audit log has of an event: by whom, and which request it was."""
    lines = [json.loads(record.message) for record in caplog.records if record.name == "goflow_trio.audit"]
    return [(line["by"], line["method"], line["path"], line["status"]) for line in lines if line["event"] == event]


async def test_a_browser_is_sent_to_the_provider_and_comes_back_as_somebody_known(caplog):
    caplog.set_level(logging.INFO, "goflow_trio.audit")
    async with world() as (_, _, browser):
        page = await browser.get("/api/jobs?a=b%26c", headers=PAGE)
        assert (page.status_code, page.json()) == (200, {"jobs": ["nightly"]})
        assert page.url.query == b"a=b%26c"
        here = urlsplit(str(browser.base_url)).netloc
        assert [urlsplit(str(step.url)).path for step in page.history if step.url.netloc.decode() == here] == [
            "/api/jobs",
            "/oidc/",
            "/oidc/callback",
        ]
        assert (await browser.get("/api/session")).json() == {
            "name": "alice@example.org",
            "role": "operate",
            "expires": None,
            "authentication": True,
        }
        assert (await browser.post("/api/jobs/nightly/submit")).status_code == 200
        foreign = await browser.post("/api/jobs/nightly/submit", headers={"Origin": "https://evil.example"})
        assert foreign.status_code == 403
    assert told(caplog, "sign-in") == [("alice@example.org", "GET", "/oidc/callback", 303)]
    (submitted,) = [line for line in caplog.messages if "/submit" in line and '"status":200' in line]
    assert '"by":"alice@example.org"' in submitted


@pytest.mark.parametrize("root_path", ["", "/flow"])
async def test_who_signs_out_is_out_and_is_asked_again_by_the_provider(root_path, caplog):
    caplog.set_level(logging.INFO, "goflow_trio.audit")
    async with world(root_path=root_path) as (provider, _, browser):
        assert (await browser.get("/api/jobs", headers=PAGE)).status_code == 200
        assert "prompt" not in provider.asked
        foreign = await browser.post("/api/logout", headers={"Origin": "https://evil.example"})
        assert foreign.status_code == 403
        assert (await browser.get("/api/jobs")).status_code == 200
        answer = await browser.post("/api/logout")  # as the dashboard does
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        assert "oidc_session" not in browser.cookies
        assert told(caplog, "sign-out") == [("alice@example.org", "POST", "/api/logout", 200)]
        assert (await browser.get("/api/jobs")).status_code == 401
        assert (await browser.get("/api/jobs", headers=PAGE)).status_code == 200
        assert provider.asked["prompt"] == "login"
        assert "oidc_left" not in browser.cookies
        await browser.get("/oidc/")
        assert "prompt" not in provider.asked


async def test_nothing_is_answered_before_but_signing_in():
    async with world() as (_, _, browser):
        for path in ("/api/jobs", "/ui/", "/metrics", "/oidc", "/api/oidc/", "/nowhere"):
            answer = await browser.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json"), path
        answer = await browser.post("/api/jobs/nightly/submit", headers=PAGE)
        assert (answer.status_code, answer.json()["detail"]) == (401, "it is not known who sent this: sign in first")
        assert (await browser.post("/api/login", json={"token": "x"})).status_code == 401
        assert (await browser.get("/api/health")).status_code == 200
        for forged in ("x", "ImFsaWNlQGV4YW1wbGUub3JnIg.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb"):
            assert (await browser.get("/api/jobs", headers={"Cookie": f"oidc_session={forged}"})).status_code == 401


async def test_roles_are_those_given_here_and_taken_back_here():
    async with world() as (provider, login, browser):
        provider.claims["email"] = "bob@example.org"
        assert (await browser.get("/api/jobs", headers=PAGE)).status_code == 200
        refused = await browser.post("/api/jobs/nightly/submit")
        assert refused.json()["detail"] == "bob@example.org has the role read; this needs the role operate"
        login.roles = {}
        assert (await browser.get("/api/jobs")).status_code == 401


@pytest.mark.parametrize(
    ("claims", "status", "said"),
    [
        ({"email": "mallory@example.org"}, 403, "gave you a role"),
        ({"email_verified": False}, 403, "gave you a role"),
        ({"email": ["alice@example.org"]}, 403, "gave you a role"),
        ({"aud": "another"}, 400, "'aud'"),
        ({"iss": "https://evil.example"}, 400, "'iss'"),
        ({"nonce": "of another sign-in"}, 400, "'nonce'"),
        ({"exp": 1}, 400, "expired"),
    ],
)
async def test_what_the_provider_does_not_say_of_us_now_lets_nobody_in(claims, status, said, caplog):
    caplog.set_level(logging.INFO, "goflow_trio.audit")
    async with world() as (provider, _, browser):
        provider.claims |= claims
        answer = await browser.get("/ui/", headers=PAGE)
        assert (answer.status_code, answer.url.path) == (status, "/oidc/callback")
        assert said in answer.text
        ((_, *what),) = told(caplog, "refused sign-in")
        assert what == ["GET", "/oidc/callback", status]
        assert (await browser.get("/api/jobs")).status_code == 401


async def test_a_token_that_another_key_signed_lets_nobody_in():
    async with world() as (provider, _, browser):
        provider.key = RSAKey.generate_key(2048, {"kid": "1", "use": "sig"})
        assert (await browser.get("/ui/", headers=PAGE)).status_code == 400
        assert (await browser.get("/api/jobs")).status_code == 401


async def test_a_callback_that_this_browser_did_not_begin_is_refused():
    async with world() as (provider, _, browser):
        begun = await browser.get("/oidc/?next=//evil.example/", follow_redirects=False)
        back = (await browser.get(begun.headers["location"], follow_redirects=False)).headers["location"]
        state = parse_qs(urlsplit(back).query)["state"][0]
        async with AsyncClient() as victim:
            assert (await victim.get(back)).status_code == 400
        for wrong in (back.replace(state, "x"), f"{back}&error=access_denied", back.partition("?")[0]):
            assert (await browser.get(wrong)).status_code == 400
        assert (await browser.get(back, follow_redirects=False)).headers["location"] == "/"
        assert not provider.codes


async def test_below_a_path_of_a_proxy():
    async with world(root_path="/flow") as (_, _, browser):
        page = await browser.get("/api/jobs", headers=PAGE)
        assert (page.status_code, page.url.path) == (200, "/flow/api/jobs")


async def test_a_stream_ends_when_who_reads_it_is_known_no_more(monkeypatch):
    monkeypatch.setattr(limits, "REVOKED_SECONDS", 0.05)
    async with world() as (_, login, browser):
        await browser.get("/api/jobs", headers=PAGE)
        async with browser.stream("GET", "/api/events") as stream:
            parts = stream.aiter_raw()
            assert await anext(parts)
            await trio.sleep(0.2)  # it is looked at several times, and goes on
            login.roles = {}
            async for _ in parts:
                pass


def test_the_code_of_the_page_runs(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    (code,) = re.findall(r"```python\n(.*?)```", (FOLDER.parent / "docs" / "auth-oidc.md").read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    assert names["gf"].app
    assert names["gf"].security.asks_who_calls
