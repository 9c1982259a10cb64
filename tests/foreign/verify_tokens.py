"""Verifies X-SC-Tokens with PyJWT: HS256 by a secret, EdDSA by the keys of a JWKS URL.

Input: {"tokens": ["…"], "audience", "secrets": {"kid": "secret"}, "jwks_url"}.
Output: for each token {"algorithm", "kid", "claims"} or {"refused": why}.
"""

import json
import sys

import jwt

REQUIRED = ["id", "role", "iss", "aud", "iat", "nbf", "exp", "jti", "project", "delivery"]


def key_of(token: str, wanted: dict, keys: jwt.PyJWKClient):
    head = jwt.get_unverified_header(token)
    if head["alg"] == "HS256":
        return wanted["secrets"][head["kid"]]
    return keys.get_signing_key_from_jwt(token).key


def read(token: str, wanted: dict, keys: jwt.PyJWKClient) -> dict:
    head = jwt.get_unverified_header(token)
    try:
        claims = jwt.decode(
            token,
            key_of(token, wanted, keys),
            algorithms=[head["alg"]] if head["alg"] in ("HS256", "EdDSA") else [],
            audience=wanted["audience"],
            issuer="tripline",
            options={"require": REQUIRED},
        )
    except (jwt.InvalidTokenError, KeyError) as error:
        return {"refused": type(error).__name__}
    return {"algorithm": head["alg"], "kid": head["kid"], "claims": claims}


def main() -> None:
    wanted = json.load(sys.stdin)
    keys = jwt.PyJWKClient(wanted["jwks_url"])
    json.dump([read(token, wanted, keys) for token in wanted["tokens"]], sys.stdout)


main()
