"""A host that knows by itself who calls (`Security(identify=…)`): what it does not know is refused on every route."""

from __future__ import annotations

import pytest

from goflow_trio import Goflow, Security, UsageError
from goflow_trio.web.guard import Caller, Role, caller_of
from goflow_trio.web.guard.caller import UNPROVEN
from goflow_trio.web.guard.layer import PUBLIC
from tests.web.guard.driving import ask
from tests.web.guard.test_matrix import is_hook, routes

WHO = {"alice": Caller("alice", Role.OPERATE), "bob": Caller("bob", Role.READ)}
SERVER_TOKEN = "the-token-of-a-program"


def by_header(scope):
    name = dict(scope["headers"]).get(b"x-user", b"").decode()
    if name == "broken":
        raise LookupError("the directory is down")
    return WHO.get(name)


def make(reached, **options):
    def note(app):
        async def noted(scope, receive, send):
            reached.append(caller_of(scope))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        return noted

    gf = Goflow(security=Security(identify=by_header, **options))
    gf.use(note)
    return gf.app


async def test_every_route_refuses_who_is_not_known_and_holds_the_others_to_their_role():
    reached = []
    app = make(reached, sign_in="/oidc/")
    for method, path in [*routes(app), ("GET", "/not/a/route"), ("POST", "/oidc"), ("GET", "/api/oidc/")]:
        for user in ("", "mallory", "broken", "bob", "alice"):
            reached.clear()
            answer = await ask(app, method, path, {"X-User": user})
            if (method, path) in PUBLIC or is_hook(method, path):
                assert reached, path
            elif user not in WHO:
                assert (answer.status, reached) == (401, []), path
            elif user == "bob" and method not in {"GET", "HEAD", "OPTIONS", "WS"}:
                assert (answer.status, reached) == (403, []), path
            else:
                assert reached == [WHO[user]], path


async def test_below_sign_in_whoever_calls_is_answered_as_nobody_in_particular():
    reached = []
    app = make(reached, sign_in="/oidc/")
    for user in ("", "mallory", "alice"):
        for method, path in (("GET", "/oidc/"), ("GET", "/oidc/callback"), ("POST", "/oidc/sign-out")):
            assert (await ask(app, method, path, {"X-User": user})).status == 200
    assert set(reached) == {UNPROVEN}
    assert UNPROVEN.role is not Role.OPERATE
    foreign = await ask(app, "POST", "/oidc/sign-out", {"Origin": "https://evil.example"})
    assert foreign.status == 403


async def test_a_browser_is_sent_to_sign_in_and_a_program_is_told():
    app = make([], sign_in="/oidc/", root_path="/flow")
    sent = await ask(app, "GET", "/flow/ui/jobs", {"Accept": "text/html"}, query=b"a=1&b=%26")
    assert (sent.status, sent.headers["location"]) == (303, "/flow/oidc/?next=%2Fflow%2Fui%2Fjobs%3Fa%3D1%26b%3D%2526")
    assert sent.headers["cache-control"] == "no-store"
    told = await ask(app, "GET", "/flow/api/jobs")
    assert (told.status, told.headers["content-type"]) == (401, "application/problem+json")


async def test_a_browser_is_shown_no_form_where_there_is_no_token_to_put_in():
    answer = await ask(make([]), "GET", "/ui/", {"Accept": "text/html"})
    assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")


async def test_tokens_of_a_file_count_besides(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"read {SERVER_TOKEN} program\n")
    file.chmod(0o600)
    reached = []
    app = make(reached, token_file=file)
    assert (await ask(app, "GET", "/api/jobs", {"Authorization": f"Bearer {SERVER_TOKEN}"})).status == 200
    assert (await ask(app, "GET", "/api/jobs", {"X-User": "alice"})).status == 200
    assert [caller.name for caller in reached] == ["program", "alice"]
    wrong = await ask(app, "GET", "/api/jobs", {"Authorization": "Bearer wrong", "X-User": "alice"})
    assert wrong.status == 401


def test_it_may_listen_where_others_reach_it():
    assert Security(identify=by_header).asks_who_calls
    assert not Security().asks_who_calls


@pytest.mark.parametrize(
    "path", ["oidc", "/oidc", "/", "//", "/api/", "/ui/", "/metrics/", "/stream/", "/a/b/", "/%61/"]
)
def test_a_path_to_sign_in_is_one_part_that_is_nobody_elses(path):
    with pytest.raises(UsageError, match="such as /oidc/"):
        Security(identify=by_header, sign_in=path)


def test_signing_in_is_for_who_is_known_afterwards():
    with pytest.raises(UsageError, match="goes together with identify"):
        Security(sign_in="/oidc/")
