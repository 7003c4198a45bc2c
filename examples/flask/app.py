"""A Flask service behind the door: who is calling is what X-Gateway-Assertion says, and nothing else.

    DOOR=http://127.0.0.1:8080 flask run --port 9002
"""

import os
from functools import wraps
from types import SimpleNamespace

import jwt
from flask import Flask, abort, g, jsonify, request

ISSUER = os.environ.get("ISSUER", "portcullis")  # [tokens] issuer of gateway.toml
AUDIENCE = os.environ.get("AUDIENCE", "flask")  # this service's name there: [upstreams.flask]
KEYS = jwt.PyJWKClient(os.environ.get("DOOR", "http://127.0.0.1:8080") + "/.well-known/jwks.json", timeout=5)

app = Flask(__name__)


def login_required(view):
    """Calls the view with `g.caller`: `sub` (the account's id), `role`, `tier`, `tenant` …; or answers 401.

    `g.current_user` is the same with `email`, which the door writes beside the assertion and does not sign: it is for showing, and true if
    nobody but the door can reach this service. Decide by `id`, `role` and `tier`."""

    @wraps(view)
    def guarded(*args, **kwargs):
        assertion = request.headers.get("X-Gateway-Assertion", "")
        try:
            if jwt.get_unverified_header(assertion).get("typ") != "assertion+jwt":
                abort(401)
            key = KEYS.get_signing_key_from_jwt(assertion)
            required = {"require": ["exp", "iat", "sub"]}
            g.caller = jwt.decode(
                assertion, key, algorithms=["EdDSA"], issuer=ISSUER, audience=AUDIENCE, options=required
            )
        except jwt.PyJWKClientConnectionError:
            abort(503)
        except jwt.PyJWTError:
            abort(401)
        g.current_user = SimpleNamespace(
            id=g.caller["sub"],
            email=request.headers.get("X-User-Email", ""),
            role=g.caller["role"],
            tier=g.caller["tier"],
        )
        return view(*args, **kwargs)

    return guarded


@app.get("/flask/hello")
@login_required
def hello():
    user = g.current_user
    return f"Hello {user.email}!"


@app.get("/<path:path>")
@login_required
def who(path):
    return jsonify({name: g.caller[name] for name in ("sub", "role", "tier")})
