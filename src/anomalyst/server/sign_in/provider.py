"""The company's identity provider: where it sends people, and whom its tokens name.

Authlib checks them; its modules are imported when somebody signs in, not before.
"""

import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx

from anomalyst.errors import AnomalystError
from anomalyst.server.auth import ALSO_CALLED, ROLES, Role
from anomalyst.server.errors import Forbidden, Unauthorized, Unreachable
from anomalyst.server.sign_in.config import OidcConfig, trusted

CALLBACK = "/oidc/callback"
# Signed by a key whose other half only the provider has; "none" and shared secrets are not.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
KEPT_SECONDS = 3600.0  # of what the provider says of itself, and its keys
PATIENCE_SECONDS = 10.0
CLOCKS_APART_SECONDS = 60
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whom a token names, and what they may do here."""

    subject: str
    name: str
    role: Role
    id_token: str


class Provider:
    """One provider. Raises Unreachable where it does not answer, AnomalystError where it errs."""

    def __init__(self, config: OidcConfig):
        self.config = config
        self._secret = _secret(config)
        self._http = httpx.Client(
            timeout=PATIENCE_SECONDS, trust_env=False, verify=_authorities(config.ca_file)
        )
        self._lock = threading.Lock()
        self._known: dict[str, tuple[dict[str, Any], float]] = {}  # address -> what it said, until

    def discovered(self) -> dict[str, Any]:
        """What the provider says of itself; its addresses are ones that can be trusted."""
        issuer = self.config.issuer
        said = self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if said.get("issuer") != issuer:
            raise AnomalystError(
                f"issuer {issuer}: calls itself {said.get('issuer')!r}; write it in the same words."
            )
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not trusted(said.get(name)):
                raise AnomalystError(
                    f"issuer {issuer}: its {name} {said.get(name)!r} is not an https:// address."
                )
        return said

    def entrance(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where a person signs in."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        return str(
            prepare_grant_uri(
                self.discovered()["authorization_endpoint"],
                client_id=self.config.client_id,
                response_type="code",
                redirect_uri=self.config.base + CALLBACK,
                scope=" ".join(self.config.scopes),
                state=state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    def person(self, code: str, *, nonce: str, verifier: str) -> Person:
        """Whom the provider names for a code. Raises Unauthorized, Forbidden without a role."""
        token = self._token(code, verifier)
        claims = self._claims(token, nonce)
        name = self._name(claims)
        return Person(
            subject=str(claims["sub"]),
            name=name,
            role=self._role(claims, name),
            id_token=token["id_token"],
        )

    def exit(self, id_token: str | None) -> str | None:
        """Where a person signs out of the provider, too; None if it has no such place.

        Without a token, as after a restart, the provider asks whether they mean it.
        """
        from authlib.common.urls import add_params_to_uri

        try:
            place = self.discovered().get("end_session_endpoint")
        except AnomalystError:  # signed out here they are in any case
            return None
        if not trusted(place):
            return None
        said = {
            "client_id": self.config.client_id,
            **({"id_token_hint": id_token} if id_token else {}),
            "post_logout_redirect_uri": self.config.base + "/",
        }
        return str(add_params_to_uri(place, list(said.items())))

    def _token(self, code: str, verifier: str) -> dict[str, Any]:
        """The provider's answer to a code, which it takes once."""
        from authlib.oauth2.auth import ClientAuth
        from authlib.oauth2.rfc6749.parameters import prepare_token_request

        found = self.discovered()
        ways = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = "client_secret_basic" in ways
        way = "client_secret_basic" if basic else "client_secret_post"
        body = prepare_token_request(
            "authorization_code", code=code, code_verifier=verifier,
            redirect_uri=self.config.base + CALLBACK, client_id=self.config.client_id,
        )  # fmt: skip
        if self._secret:
            auth = ClientAuth(self.config.client_id, self._secret, way)
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            place, headers, body = auth.prepare("POST", found["token_endpoint"], form, body)
        else:
            place, headers = found["token_endpoint"], {}
        headers = dict(headers) | {
            "Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded",
        }  # fmt: skip
        try:
            said = _mapping(self._http.post(place, content=body, headers=headers), refused=True)
        except httpx.HTTPError as error:
            raise self._silent(error) from error
        if not isinstance(said.get("id_token"), str):
            why = str(said.get("error", "no id_token"))[:60]
            raise Unauthorized(f"the identity provider refused the sign-in ({why}).")
        return said

    def _claims(self, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """What a token says, once signature, issuer, audience, times and nonce hold."""
        from authlib.oidc.core import CodeIDToken
        from joserfc.errors import InvalidKeyIdError, JoseError

        try:
            try:
                signed = self._signed(token["id_token"])
            except InvalidKeyIdError:  # it may have taken a new key since we looked
                signed = self._signed(token["id_token"], anew=True)
            options: Any = {
                "iss": {"essential": True, "value": self.config.issuer},
                "aud": {"essential": True, "value": self.config.client_id},
            }
            about = {
                "nonce": nonce, "client_id": self.config.client_id,
                "access_token": token.get("access_token"),
            }  # fmt: skip
            claims = CodeIDToken(signed.claims, signed.header, options, about)
            claims.validate(leeway=CLOCKS_APART_SECONDS)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise Unauthorized(
                f"the identity provider's token cannot be trusted ({_why(error)})."
            ) from error
        return dict(claims)

    def _signed(self, id_token: str, *, anew: bool = False) -> Any:
        from joserfc import jwt
        from joserfc.jwk import KeySet
        from joserfc.jws import JWSRegistry

        said = self._get(self.discovered()["jwks_uri"], anew=anew)
        keys = [
            key
            for key in said.get("keys", ())
            if key.get("kty") in ("RSA", "EC") and key.get("use", "sig") == "sig"
        ]
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        return jwt.decode(id_token, KeySet.import_key_set({"keys": keys}), registry=registry)

    def _name(self, claims: Mapping[str, Any]) -> str:
        """What the record calls them. An address that its owner wrote and nobody tried is none."""
        tried = claims.get("email_verified", True) in (True, "true")
        first = [self.config.name_claim] if self.config.name_claim else ["email"] * tried
        if self.config.name_claim is None:
            first += ["preferred_username", "sub"]
        name = next((str(claims[one]).strip() for one in first if claims.get(one)), "")
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise Forbidden(
                f"the identity provider's token has no usable {first[0]}, which is what the record "
                "would call you; ask who runs this server to set name_claim."
            )
        return name

    def _role(self, claims: Mapping[str, Any], name: str) -> Role:
        """The highest that their groups give."""
        claim = self.config.role_claim
        held = claims.get(claim)
        if held is None:
            held = claims
            for part in claim.split("."):
                held = held.get(part) if isinstance(held, Mapping) else None
        values = held if isinstance(held, list) else [held]
        known = [one for one in values if isinstance(one, str) and one in self.config.roles]
        given = [self.config.roles[one] for one in known]
        if not given:
            raise Forbidden(
                f"{name} is known to the identity provider, but nothing in their {claim!r} gives a "
                "role here; ask who runs this server, or who keeps the groups, for one."
            )
        return cast(Role, max((ALSO_CALLED.get(one, one) for one in given), key=ROLES.index))

    def _get(self, address: str, *, anew: bool = False) -> dict[str, Any]:
        """What an address of the provider says; asked once an hour."""
        with self._lock:
            said, until = self._known.get(address, ({}, 0.0))
        if not anew and until > time.monotonic():
            return said
        try:
            said = _mapping(self._http.get(address, headers={"Accept": "application/json"}))
        except httpx.HTTPError as error:
            raise self._silent(error) from error
        with self._lock:
            self._known[address] = said, time.monotonic() + KEPT_SECONDS
        return said

    def _silent(self, error: Exception) -> Unreachable:
        why = str(error) or type(error).__name__
        return Unreachable(f"issuer {self.config.issuer}: does not answer ({why}).")


def _authorities(ca_file: Path | None) -> ssl.SSLContext | bool:
    """Whose certificates are believed."""
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise AnomalystError(f"ca_file {ca_file}: not usable as PEM ({error}).") from error


def _secret(config: OidcConfig) -> str:
    if config.client_secret_file is None:
        return ""
    try:
        found = config.client_secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise AnomalystError(
            f"client_secret_file {config.client_secret_file}: not readable ({error})."
        ) from error
    if not found:
        raise AnomalystError(f"client_secret_file {config.client_secret_file}: is empty.")
    return found


def _mapping(answer: httpx.Response, *, refused: bool = False) -> dict[str, Any]:
    """JSON that is a mapping; of a refusal, too, where that tells why."""
    if not refused or answer.status_code >= 500:
        answer.raise_for_status()
    try:
        said = answer.json()
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise httpx.HTTPError(f"{answer.url} answers with what is no JSON object")
    return said


def _why(error: Exception) -> str:
    """In the words of the check that failed, with nothing of the token."""
    return str(getattr(error, "description", "") or getattr(error, "error", "") or error)[:120]
