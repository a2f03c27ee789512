"""A little OpenID provider on this machine, with real keys."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "workbench", "s3cret"


class IdentityProvider:
    """Signs in whoever comes as `person`; `says` overrides claims of the ID token."""

    def __init__(self, callback: str):
        self.callback = callback
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.published = [self.key.as_dict(private=False)]
        self.person: dict = {}
        self.says: dict = {}
        self.issuer = self.calls_itself = ""
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens = 0

    def discovery(self) -> dict:
        """What it says of itself."""
        places = {
            "authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys",
            "end_session_endpoint": "exit",
        }  # fmt: skip
        return {"issuer": self.calls_itself} | {
            name: f"{self.issuer}/{path}" for name, path in places.items()
        }

    def authorize(self, asked: dict[str, str]) -> str:
        """Back to the client with a code, bound to what was asked."""
        assert asked["client_id"] == CLIENT and asked["response_type"] == "code"
        assert asked["redirect_uri"] == self.callback and "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256" and len(asked["nonce"]) > 20
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        said = {"code": code, "state": asked["state"], "iss": self.issuer}
        return f"{self.callback}?{urlencode(said)}"

    def token(self, sent: dict[str, str], authorization: str) -> dict:
        """An ID token for a code, once, to who holds the secret and the verifier."""
        asked = self.codes.pop(sent["code"], None)
        basic = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or authorization != basic or challenge != asked["code_challenge"]:
            return {"error": "invalid_grant"}
        assert sent["redirect_uri"] == self.callback
        self.tokens += 1
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300}
        claims |= {"nonce": asked["nonce"], "sub": "4711"} | self.person | self.says
        signed = jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)
        return {"access_token": "a", "token_type": "Bearer", "id_token": signed}


@contextmanager
def identity_provider(callback: str) -> Iterator[IdentityProvider]:
    """One that answers on a port of this machine."""
    provider = IdentityProvider(callback)

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/.well-known/openid-configuration":
                self._json(provider.discovery())
            elif parts.path == "/keys":
                self._json({"keys": provider.published})
            else:
                self.send_response(303)
                self.send_header("Location", provider.authorize(_one_each(parts.query)))
                self.end_headers()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            said = provider.token(_one_each(body), self.headers.get("Authorization", ""))
            self._json(said, 400 if "error" in said else 200)

        def _json(self, said: dict, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        provider.issuer = provider.calls_itself = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield provider
        server.shutdown()


def _one_each(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
