"""A FastAPI service behind the door: who is calling is what X-Gateway-Assertion says, and nothing else.

    DOOR=http://127.0.0.1:8080 uvicorn app:app --port 9001
"""

import os
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException, Request

ISSUER = os.environ.get("ISSUER", "portcullis")  # [tokens] issuer of gateway.toml
AUDIENCE = os.environ.get("AUDIENCE", "fastapi")  # this service's name there: [upstreams.fastapi]
KEYS = jwt.PyJWKClient(os.environ.get("DOOR", "http://127.0.0.1:8080") + "/.well-known/jwks.json", timeout=5)

app = FastAPI()


def caller(request: Request) -> dict:
    """The claims of a verified assertion: `sub` (the account's id), `role`, `tier`, `tenant` …, or 401."""
    assertion = request.headers.get("x-gateway-assertion", "")
    try:
        if jwt.get_unverified_header(assertion).get("typ") != "assertion+jwt":
            raise jwt.InvalidTokenError("another kind of token")
        key = KEYS.get_signing_key_from_jwt(assertion)
        required = {"require": ["exp", "iat", "sub"]}
        return jwt.decode(assertion, key, algorithms=["EdDSA"], issuer=ISSUER, audience=AUDIENCE, options=required)
    except jwt.PyJWKClientConnectionError as error:
        raise HTTPException(503, "the door's keys cannot be fetched") from error
    except jwt.PyJWTError as error:
        raise HTTPException(401, "no assertion of the door's") from error


@app.get("/{path:path}")
def who(caller: Annotated[dict, Depends(caller)]) -> dict:
    return {"sub": caller["sub"], "role": caller["role"], "tier": caller["tier"]}
