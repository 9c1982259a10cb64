"""Receivers in the style of each system, which take tripline's calls as they would take that system's.

Input, its first line: {"secrets": {"kid": "secret"}, "signing_secret": "whsec_…"}. Output: a line
{"port"}; then, when the input ends, path -> what the receiver there understood, one call after the
other.
"""

import base64
import hashlib
import hmac
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks.webhooks import Webhook

wanted = json.loads(sys.stdin.readline())
seen: dict[str, list] = {}


class Refused(Exception):
    """What the receiver does not take."""


def schmuckli(headers: dict, body: bytes) -> object:
    """One URL for all events: the number says which it is, the secret that it is genuine."""
    event = json.loads(body)
    if not hmac.compare_digest(event["_secret"], wanted["schmuckli_secret"]):
        raise Refused("the secret is another one")
    names = {
        1000: ["row_id", "container", "bucket", "dataset"],
        2000: ["user_id", "email"],
        2001: ["user_id", "email", "lang"],
    }
    fields = {name: event[name] for name in names[event["_event_id"]]}
    return {"id": event["_event_id"], "name": event["_event_name"], "fields": fields,
            "has_session": "_function_session" in event}, None


def space_cloud(headers: dict, body: bytes) -> object:
    """Who calls is proven by the token; the answer has to be JSON, with what the caller waits for."""
    token = headers["x-sc-token"].removeprefix("Bearer ")
    secret = wanted["secrets"][jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, secret, algorithms=["HS256"], options={"verify_aud": False})
    if claims["role"] != "SpaceCloud":
        raise Refused("a token of somebody else")
    if "authorization" in headers:
        raise Refused("nobody set credentials")
    event = json.loads(body)
    if event["source"] != f"sc-{claims['id']}":
        raise Refused("an event of another node")
    data = event["data"]
    return {"type": event["type"], "db": data["db"], "col": data["col"], "doc": data["doc"],
            "find": data["find"]}, {"response": {"seen": event["id"]}}


def yandex_handler(event: dict) -> list:
    """A function of Yandex Cloud: `handler(event, context)` with `event["messages"]`."""
    handled = []
    for message in event["messages"]:
        kind = message["event_metadata"]["event_type"]
        details = message["details"]
        if kind.startswith("yandex.cloud.events.storage."):
            handled.append([kind.rsplit(".", 1)[1], details["bucket_id"], details["object_id"]])
        elif kind == "yandex.cloud.events.messagequeue.QueueMessage":
            inner = details["message"]
            if hashlib.md5(inner["body"].encode()).hexdigest() != inner["md5_of_body"]:
                raise Refused("the body was changed")
            int(inner["attributes"]["SentTimestamp"])
            handled.append([details["queue_id"].split(":")[-1], inner["body"]])
        elif kind == "yandex.cloud.events.iot.IoTMessage":
            payload = base64.b64decode(details["payload"], validate=True).decode()
            handled.append([details["device_id"], payload])
        else:
            raise Refused(f"{kind} is unknown")
    return handled


def yandex(headers: dict, body: bytes) -> object:
    return yandex_handler(json.loads(body)), {"statusCode": 200}


class NumberFunction:
    """A function as extremum's library runs it: a main method and two for triggers."""

    context: dict = {}

    def launch(self, parameters: dict) -> int:
        return len(parameters)

    def on_storage_trigger(self, messages: list) -> object:
        return [["storage", one["details"]["object_id"]] for one in messages]

    def on_signal(self, messages: list) -> object:
        return [["signal", one["details"]["message"]["body"]] for one in messages]


def extremum(headers: dict, body: bytes) -> object:
    """Routes as the library does: by `messages`, then by the type of the first one."""
    request = json.loads(body)
    function = NumberFunction()
    messages = request.get("messages")
    if messages is not None:
        kind = messages[0]["event_metadata"]["event_type"].split(".")
        is_storage = len(kind) > 3 and kind[3] == "storage"
        method = function.on_storage_trigger if is_storage else function.on_signal
        return method(messages), None
    context = request["context"]
    function.context = context["headers"]
    result = function.launch(request["parameters"])
    app = function.context["x-app-id"]
    return [context["package"], context["function"], app, result], result


def cloudevents(headers: dict, body: bytes) -> object:
    """A batch, read by the cloudevents library and verified as a whole."""
    Webhook(wanted["signing_secret"]).verify(body, headers)
    if headers["content-type"] != "application/cloudevents-batch+json":
        raise Refused(f"{headers['content-type']} is no batch")
    events = [JSONFormat().read(CloudEvent, json.dumps(one)) for one in json.loads(body)]
    return [[event.get_type(), event.get_data()["n"]] for event in events], {"failed": []}


RECEIVERS = {
    "/schmuckli": schmuckli,
    "/space-cloud": space_cloud,
    "/yandex": yandex,
    "/extremum": extremum,
    "/cloudevents": cloudevents,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            understood, answer = RECEIVERS[self.path](headers, body)
            status = 200
        except Exception as error:  # whatever it is, the test has to see it
            understood, answer = {"refused": f"{type(error).__name__}: {error}"}, None
            status = 400
        seen.setdefault(self.path, []).append(understood)
        written = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"port": server.server_port}), flush=True)
sys.stdin.read()
print(json.dumps(seen), flush=True)
