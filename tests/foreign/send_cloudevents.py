"""Sends CloudEvents made by the cloudevents library: structured, binary, and as a batch.

Input: {"url", "api_key", "type"}. Output: mode -> {"status", "answer", "ids"}.
"""

import json
import sys
import urllib.request
from datetime import datetime, timezone

from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent


def event(kind: str, name: str) -> CloudEvent:
    attributes = {
        "id": f"python-{name}",
        "source": "https://example.com/python-client",
        "type": kind,
        "subject": "orders/caf%C3%A9%2042",
        "time": datetime(2026, 11, 23, 8, 0, tzinfo=timezone.utc),
        "datacontenttype": "application/json",
        "comexample": "Euro € 😀",
    }
    return CloudEvent(attributes, {"mode": name, "text": "Euro € 😀"})


def post(url: str, key: str | None, headers: dict[str, str], body: bytes) -> dict:
    headers = dict(headers)
    if key:
        headers["authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return {"status": answer.status, "answer": json.load(answer)}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "answer": error.read().decode()}


def main() -> None:
    wanted = json.load(sys.stdin)
    url, key, kind = wanted["url"], wanted["api_key"], wanted["type"]
    answers = {}
    for mode, write in [("structured", to_structured_event), ("binary", to_binary_event)]:
        message = write(event(kind, mode))
        answers[mode] = post(url, key, message.headers, bytes(message.body))
        answers[mode]["ids"] = [f"python-{mode}"]
    events = [event(kind, f"batch-{number}") for number in (1, 2, 3)]
    body = b"[" + b",".join(bytes(JSONFormat().write(one)) for one in events) + b"]"
    headers = {"content-type": "application/cloudevents-batch+json"}
    answers["batch"] = post(url, key, headers, body)
    answers["batch"]["ids"] = [one.get_id() for one in events]
    json.dump(answers, sys.stdout)


main()
