"""Reads requests that tripline sent with the cloudevents library.

Input: [{"headers", "body"}, …]. Output: [{"attributes", "data"}, …].
"""

import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event


def read(request: dict) -> dict:
    event = from_http_event(HTTPMessage(request["headers"], request["body"].encode()))
    attributes = {name: str(value) for name, value in event.get_attributes().items()}
    return {"attributes": attributes, "data": event.get_data()}


json.dump([read(request) for request in json.load(sys.stdin)], sys.stdout)
