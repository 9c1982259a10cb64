"""Verifies requests that tripline sent: `v1` with standardwebhooks, `v1a` with PyNaCl.

Input: {"requests": [{"headers", "body"}, …], "secrets": ["whsec_…"], "public_keys": ["whpk_…"]}.
Output: for each request {"v1": [verdict for each secret], "v1a": [verdict for each public key]};
a verdict is "ok" or why not.
"""

import base64
import json
import sys
import time

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

TOLERANCE_S = 300


def by_secret(request: dict, secret: str) -> str:
    try:
        Webhook(secret).verify(request["body"], request["headers"])
    except WebhookVerificationError as error:
        return str(error)
    return "ok"


def by_public_key(request: dict, public_key: str) -> str:
    headers = request["headers"]
    timestamp = headers["webhook-timestamp"]
    if abs(time.time() - int(timestamp)) > TOLERANCE_S:
        return "Message timestamp too old"
    key = VerifyKey(base64.b64decode(public_key.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{timestamp}.{request['body']}".encode()
    for signature in headers["webhook-signature"].split(" "):
        version, _, value = signature.partition(",")
        if version != "v1a":
            continue
        try:
            key.verify(signed, base64.b64decode(value))
            return "ok"
        except BadSignatureError:
            continue
    return "No matching signature found"


def main() -> None:
    wanted = json.load(sys.stdin)
    verdicts = [
        {
            "v1": [by_secret(request, secret) for secret in wanted["secrets"]],
            "v1a": [by_public_key(request, key) for key in wanted["public_keys"]],
        }
        for request in wanted["requests"]
    ]
    json.dump(verdicts, sys.stdout)


main()
