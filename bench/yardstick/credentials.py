"""Keys, tokens and rows made here, where thousands of people would take too long to register one by one.

A data folder is filled while no gateway runs on it. Tokens made here are HS256, whose secret the bench gives to the gateway;
tokens of other algorithms come from the gateway itself, which alone has the keys.
"""

import base64
import hashlib
import hmac
import json
import sqlite3
import time
import uuid
import zlib
from contextlib import closing
from datetime import datetime, timezone

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# What the gateway is told too. Not secret to anybody: it exists for the length of a run on loopback.
SHARED = hashlib.sha256(b"bench").hexdigest()
ISSUER = AUDIENCE = "portcullis"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# -- ids and keys ------------------------------------------------------------------------------------------------------


def numbered_uuid(kind, number):
    """A version 7 UUID whose order is that of the numbers, as those of people who come one after the other."""
    at = 1_700_000_000_000 + number
    tail = hashlib.sha256(f"{kind}{number}".encode()).digest()
    return uuid.UUID(
        int=(at << 80) | (7 << 76) | (int.from_bytes(tail[:1]) << 64) | (2 << 62) | int.from_bytes(tail[1:8])
    )


def base62(number, width):
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def api_key(identifier, number):
    """The text of a key: prefix, id, secret, CRC-32 (identity/src/opaque.rs)."""
    secret = int.from_bytes(hashlib.sha256(f"secret{number}".encode()).digest())
    text = "pck_" + base62(identifier.int, 22) + base62(secret, 43)
    return text + base62(zlib.crc32(text.encode()), 6)


class Signer:
    """Signs access tokens of HS256 as the gateway does."""

    def __init__(self):
        kid = "shared-" + hashlib.sha256(SHARED.encode()).hexdigest()[:16]
        self.head = b64(json.dumps({"alg": "HS256", "kid": kid, "typ": "at+jwt"}).encode())
        self.now = int(time.time())

    def token(self, account, session):
        claims = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": str(account), "sid": str(session),
            "iat": self.now, "exp": self.now + 7200, "jti": str(session),
        }  # fmt: skip
        message = f"{self.head}.{b64(json.dumps(claims, separators=(',', ':')).encode())}"
        return f"{message}.{b64(hmac.digest(SHARED.encode(), message.encode(), 'sha256'))}"


# -- rows --------------------------------------------------------------------------------------------------------------


def now_text():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")


def seed_people(data, numbers):
    """Accounts with a session each, whose ids `numbered_uuid` gives."""
    now = now_text()
    accounts = (
        "INSERT INTO accounts (id, email, email_normalised, password_hash, name, role, tier, status, is_verified, created_at, updated_at)"
        " VALUES (?, ?, ?, '!', ?, 'user', 'free', 'active', 1, ?, ?)"
    )
    with closing(sqlite3.connect(data / "portcullis.db")) as database, database:
        database.execute("PRAGMA synchronous = OFF")
        database.executemany(
            accounts,
            (
                (
                    numbered_uuid("account", n).bytes,
                    f"seed{n}@bench.example",
                    f"seed{n}@bench.example",
                    f"Seed {n}",
                    now,
                    now,
                )
                for n in numbers
            ),
        )
        database.executemany(
            "INSERT INTO sessions (id, account_id, created_at) VALUES (?, ?, ?)",
            ((numbered_uuid("session", n).bytes, numbered_uuid("account", n).bytes, now) for n in numbers),
        )


def seed_keys(data, numbers, people):
    """API keys of the first `people` seeded accounts; (key, account) of each."""
    now, made = now_text(), []
    rows = []
    for n in numbers:
        identifier, account = numbered_uuid("key", n), numbered_uuid("account", n % people)
        text = api_key(identifier, n)
        made.append((text, str(account)))
        digest = hashlib.sha256(text.encode()).digest()
        rows.append((identifier.bytes, account.bytes, "bench", text[:16], digest, now))
    with closing(sqlite3.connect(data / "portcullis.db")) as database, database:
        database.executemany("INSERT INTO api_keys (id, account_id, name, prefix, digest, created_at) VALUES (?, ?, ?, ?, ?, ?)", rows)
    return made


# -- what peers verify with --------------------------------------------------------------------------------------------


def _tlv(tag, *parts):
    body = b"".join(parts)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8 or 1)
    return bytes([tag]) + (size if len(body) < 128 else bytes([128 + len(size)]) + size) + body


def _integer(data):
    return _tlv(2, b"\0" + data if data[0] & 128 else data)


def pem_of(jwk):
    """The public key as a SubjectPublicKeyInfo (RFC 5280 §4.1, RFC 8410), for those who cannot read a JWK."""
    if jwk["kty"] == "RSA":
        kind = _tlv(6, bytes.fromhex("2a864886f70d010101")) + _tlv(5)
        key = _tlv(48, _integer(unb64(jwk["n"])), _integer(unb64(jwk["e"])))
    elif jwk["kty"] == "EC":
        kind = _tlv(6, bytes.fromhex("2a8648ce3d0201")) + _tlv(6, bytes.fromhex("2a8648ce3d030107"))
        key = b"\4" + unb64(jwk["x"]) + unb64(jwk["y"])
    else:
        kind, key = _tlv(6, bytes.fromhex("2b6570")), unb64(jwk["x"])
    der = base64.b64encode(_tlv(48, _tlv(48, kind), _tlv(3, b"\0", key))).decode()
    lines = [der[at : at + 64] for at in range(0, len(der), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


def header_of(token):
    return json.loads(unb64(token.split(".")[0]))


def claims_of(token):
    return json.loads(unb64(token.split(".")[1]))
