"""People sign in with an OpenID Connect provider (code flow with PKCE); their roles are given here.

OIDC_ISSUER=https://id.example.org OIDC_CLIENT_ID=… OIDC_CLIENT_SECRET=… COOKIE_KEY=… python examples/oidc_login.py

At the provider, register `https://…/oidc/callback` as redirect URI. Needs the extra `auth`.
"""

import os
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from itsdangerous import BadSignature, URLSafeTimedSerializer
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from quart import Response, redirect, request
from quart_trio import QuartTrio
from werkzeug.http import dump_cookie, parse_cookie

from goflow_trio import Goflow, Job, Noop, Security, Task
from goflow_trio.web.guard import Caller, Role, tell_audit

SIGN_IN = "/oidc/"
SIGN_OUT = "/api/logout"
SESSION, LOGIN, LEFT = "oidc_session", "oidc_login", "oidc_left"
SESSION_SECONDS, LOGIN_SECONDS = 8 * 3600, 600


class OidcLogin:
    """Signs browsers in with a provider, and knows them again by a signed cookie.

    Args:
        issuer: the provider, as it names itself.
        client_id: what it knows this program by.
        client_secret: and what it proves that with.
        key: signs the cookies; a new one signs everybody out.
        roles: who may do what, by verified e-mail address. Nobody else is let in.
    """

    def __init__(self, issuer: str, client_id: str, client_secret: str, *, key: str, roles: Mapping[str, Role]) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self.roles = roles
        self._client_secret = client_secret
        self._sessions = URLSafeTimedSerializer(key, salt=SESSION)
        self._logins = URLSafeTimedSerializer(key, salt=LOGIN)

    def identify(self, scope: Mapping[str, Any]) -> Caller | None:
        """Return who sends a request: for `Security(identify=…)`."""
        header = b"; ".join(value for name, value in scope["headers"] if name.lower() == b"cookie")
        try:
            email = self._sessions.loads(parse_cookie(header.decode("latin1")).get(SESSION, ""), SESSION_SECONDS)
        except BadSignature:
            return None
        role = self.roles.get(email)  # looked up each time, so that who is taken out is out
        return None if role is None else Caller(email, role)

    def middleware(self, app: Any) -> Any:
        """Wrap the app: for `gf.use`. What is below `/oidc/` is answered here, all the rest by the app.

        It signs people out, too; our cookies, which it does not know, are taken away with its answer.
        """
        pages = QuartTrio("oidc_login")
        pages.add_url_rule(SIGN_IN, "begin", self._begin)
        pages.add_url_rule(f"{SIGN_IN}callback", "callback", self._callback)
        for kind in (AuthlibBaseError, JoseError, BadSignature, httpx2.HTTPError, KeyError):
            pages.register_error_handler(kind, self._failed)

        async def either(scope: Any, receive: Any, send: Any) -> None:
            path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
            if scope["type"] == "http" and path.startswith(SIGN_IN):
                await pages(scope, receive, send)
            elif (scope["type"], scope.get("method"), path) == ("http", "POST", SIGN_OUT):
                await app(scope, receive, partial(_forget, scope, send))
            else:
                await app(scope, receive, send)

        return either

    async def _begin(self) -> Any:
        """Send the browser to the provider. What the callback has to know waits in a cookie of that browser alone."""
        login = {"verifier": secrets.token_urlsafe(48), "nonce": secrets.token_urlsafe(), "next": _next()}
        async with self._client() as client:
            provider = await self._provider(client)
            url, login["state"] = client.create_authorization_url(
                provider["authorization_endpoint"],
                code_verifier=login["verifier"],
                nonce=login["nonce"],
                **({"prompt": "login"} if LEFT in request.cookies else {}),
            )
        answer = redirect(url, 303)
        answer.headers.add("Set-Cookie", _cookie(request.scope, LOGIN, self._logins.dumps(login), LOGIN_SECONDS))
        return answer

    async def _callback(self) -> Any:
        """Exchange the code for an id token, and a good id token for a session."""
        login = self._logins.loads(request.cookies[LOGIN], max_age=LOGIN_SECONDS)
        if "error" in request.args or request.args["state"] != login["state"]:
            return await self._failed(PermissionError(request.args.get("error", "the state is another browser's")))
        async with self._client() as client:
            provider = await self._provider(client)
            token = await client.fetch_token(
                provider["token_endpoint"], code=request.args["code"], code_verifier=login["verifier"]
            )
            keys = await _get(client, provider["jwks_uri"])
        claims = self._checked(token["id_token"], keys, login["nonce"])
        email = str(claims.get("email"))
        if claims.get("email_verified") is not True or email not in self.roles:
            tell_audit(request.scope, "refused sign-in", by=email, status=403)
            return Response("You have signed in, but nobody here gave you a role.", 403, content_type="text/plain")
        answer = redirect(login["next"], 303)
        cookies = [(SESSION, self._sessions.dumps(email), SESSION_SECONDS), (LOGIN, "", 0), (LEFT, "", 0)]
        for cookie in cookies:
            answer.headers.add("Set-Cookie", _cookie(request.scope, *cookie))
        tell_audit(request.scope, "sign-in", by=email, status=303)
        return answer

    async def _failed(self, error: Exception) -> Response:
        tell_audit(request.scope, "refused sign-in", by="", status=400)
        text = f"Signing in failed: {error or type(error).__name__}. Try again at {request.script_root}{SIGN_IN}"
        return Response(text, 400, content_type="text/plain")

    def _client(self) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            self.client_id,
            self._client_secret,
            scope="openid email",
            redirect_uri=f"{request.scheme}://{request.host}{request.script_root}{SIGN_IN}callback",
            code_challenge_method="S256",
            timeout=10,
        )

    async def _provider(self, client: AsyncOAuth2Client) -> Any:
        found = await _get(client, f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        if found["issuer"] != self.issuer:
            raise KeyError(f"the provider calls itself {found['issuer']}")
        return found

    def _checked(self, id_token: str, keys: Any, nonce: str) -> dict[str, Any]:
        """Return the claims of an id token that this provider signed, for us, for this very sign-in."""
        token = jwt.decode(id_token, KeySet.import_key_set(keys), algorithms=["RS256", "ES256"])
        rules = jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.client_id},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        rules.validate(token.claims)
        return token.claims


async def _get(client: AsyncOAuth2Client, url: str) -> Any:
    return (await client.request("GET", url, withhold_token=True)).raise_for_status().json()


def _next() -> str:
    """Return the path to go on to: one of this server, never an address elsewhere."""
    path = request.args.get("next", "")
    is_own = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_own else f"{request.script_root}/"


async def _forget(scope: Any, send: Any, message: Any) -> None:
    """End our session with the answer to signing out.

    The provider's own goes on, so a cookie has it asked, before the next sign-in, to ask who it is.
    """
    if message["type"] == "http.response.start":
        cookies = [(SESSION, "", 0), (LOGIN, "", 0), (LEFT, "1", SESSION_SECONDS)]
        ours = [(b"set-cookie", _cookie(scope, *cookie).encode()) for cookie in cookies]
        message = {**message, "headers": [*message["headers"], *ours]}
    await send(message)


def _cookie(scope: Any, name: str, value: str, seconds: int) -> str:
    """Return a cookie that no script and no page elsewhere can use; Lax, for the provider's site sends people here."""
    path, secure = f"{scope.get('root_path', '')}/", scope["scheme"] == "https"
    return dump_cookie(name, value, seconds, path=path, secure=secure, httponly=True, samesite="Lax")


def make_goflow(login: OidcLogin, **security: Any) -> Goflow:
    gf = Goflow(security=Security(identify=login.identify, sign_in=SIGN_IN, **security))
    gf.use(login.middleware)
    nightly = gf.add_job(Job("nightly"))
    nightly.add(Task("sweep", Noop()))
    return gf


if __name__ == "__main__":
    oidc = OidcLogin(
        os.environ["OIDC_ISSUER"],
        os.environ["OIDC_CLIENT_ID"],
        os.environ["OIDC_CLIENT_SECRET"],
        key=os.environ["COOKIE_KEY"],
        roles={"alice@example.org": Role.OPERATE, "bob@example.org": Role.READ},
    )
    make_goflow(oidc, allowed_hosts=["flow.example.org"]).run(":8181")
