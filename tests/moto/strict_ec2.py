"""An EC2 for tests: moto's server, made as strict as AWS where moto is kinder and hides bugs.

    python strict_ec2.py        prints its port as the first line, ends when its standard input is closed

What is added to moto:
  - requests are authenticated (signature version 4; the key pair is in STRICT_EC2_ACCESS_KEY, STRICT_EC2_SECRET_KEY);
  - ClientToken: a repetition answers with the first call's instances, other arguments are an
    IdempotentParameterMismatch, and the token of a terminated instance is spent;
  - images, types and key pairs must exist; tokens, tags, user data and volume sizes keep EC2's limits;
  - instances are pending, stopping and shutting-down for a moment (STRICT_EC2_TRANSITION_MS), a new one is not seen at
    once (STRICT_EC2_HIDDEN_MS), and only a stopped one can be started;
  - a start sets a new launch time; DescribeInstances answers in small pages (STRICT_EC2_PAGE);
  - all public addresses are STRICT_EC2_ADDRESS where that is set;
  - POST /strict/faults {"action", "code", "status", "message", "times", "delay", "carried_out"} orders errors.
"""

import base64
import binascii
import io
import json
import os
import re
import sys
import threading
import time
from datetime import datetime, timezone
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

os.environ["MOTO_ENABLE_AMI_VALIDATION"] = "true"
os.environ["MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION"] = "true"

from botocore.auth import SigV4Auth  # noqa: E402
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402
from botocore.session import Session  # noqa: E402
from moto.ec2.exceptions import EC2ClientError  # noqa: E402
from moto.ec2.models import instances as models  # noqa: E402
from moto.ec2.responses import instances as responses  # noqa: E402
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: E402
from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: E402

TRANSITION_SECONDS = int(os.environ.get("STRICT_EC2_TRANSITION_MS", "300")) / 1000
HIDDEN_SECONDS = int(os.environ.get("STRICT_EC2_HIDDEN_MS", "300")) / 1000
PAGE = int(os.environ.get("STRICT_EC2_PAGE", "2"))
ADDRESS = os.environ.get("STRICT_EC2_ADDRESS")
ACCESS_KEY = os.environ["STRICT_EC2_ACCESS_KEY"]
SECRET_KEY = os.environ["STRICT_EC2_SECRET_KEY"]

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
TAGS_MAX, TAG_KEY_MAX, TAG_VALUE_MAX = 50, 128, 256
TAG_TEXT = re.compile(r"[\w\s+\-=._:/@]*")
USER_DATA_MAX_BYTES = 16 * 1024
CLIENT_TOKEN = re.compile(r"[\x21-\x7e]{1,64}")


def error(code, message):
    return EC2ClientError(code, message)


# --- RunInstances


def check_arguments(backend, image_id, user_data, arguments):
    token = arguments["client_token"]
    if token is not None and not CLIENT_TOKEN.fullmatch(token):
        raise error("InvalidParameterValue", "ClientToken must be 1 to 64 ASCII characters")
    if arguments.get("key_name"):
        backend.describe_key_pairs(key_names=[arguments["key_name"]])
    for tags in arguments.get("tags", {}).values():
        if len(tags) > TAGS_MAX:
            raise error("TagLimitExceeded", f"more than {TAGS_MAX} tags")
        for key, value in tags.items():
            fits = 0 < len(key) <= TAG_KEY_MAX and len(value) <= TAG_VALUE_MAX
            if not fits or key.startswith("aws:") or not all(map(TAG_TEXT.fullmatch, (key, value))):
                raise error("InvalidParameterValue", f"tag {key!r} = {value!r} is not allowed")
    if user_data:
        try:
            raw = base64.b64decode(str(user_data), validate=True)
        except binascii.Error as cause:
            raise error("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from cause
        if len(raw) > USER_DATA_MAX_BYTES:
            raise error("InvalidParameterValue", "User data is limited to 16384 bytes")
    image = backend.describe_images(ami_ids=[image_id])[0]
    for mapping in arguments.get("block_device_mappings", []):
        size = mapping["Ebs"].get("VolumeSize")
        if mapping["DeviceName"] == image.root_device_name and size is not None:
            least = backend.describe_snapshots(snapshot_ids=[image.ebs_snapshot.id])[0].volume.size
            if int(size) < least:
                raise error(
                    "InvalidBlockDeviceMapping",
                    f"Volume of size {size}GB is smaller than snapshot, expect size>= {least}GB",
                )


run_lock = threading.Lock()
moto_run_instances = models.InstanceBackend.run_instances


def run_instances(self, image_id, count, user_data, security_group_names, **arguments):
    # moto's stand-in for "no token"; without one, AWS makes as many machines as it is asked for.
    if arguments["client_token"] == "ABCDE":
        arguments["client_token"] = None
    check_arguments(self, image_id, user_data, arguments)
    token = arguments["client_token"]
    key = json.dumps([image_id, count, str(user_data), security_group_names, arguments], default=str, sort_keys=True)
    with run_lock:
        tokens = self.__dict__.setdefault("strict_tokens", {})
        if token in tokens:
            before, reservation = tokens[token]
            if before != key:
                raise error(
                    "IdempotentParameterMismatch",
                    "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
                )
            if all(instance.state in ("shutting-down", "terminated") for instance in reservation.instances):
                raise error(
                    "IdempotentInstanceTerminated",
                    "The client token was used for an instance that has been terminated.",
                )
            return reservation
        reservation = moto_run_instances(self, image_id, count, user_data, security_group_names, **arguments)
        if token is not None:
            tokens[token] = (key, reservation)
        for instance in reservation.instances:
            instance.strict_visible_at = time.monotonic() + HIDDEN_SECONDS
            move(instance, ("pending", 0), ("running", 16))
        return reservation


models.InstanceBackend.run_instances = run_instances


# --- states take time


def move(instance, through, to):
    """Puts an instance into a passing state, and some time later, if nothing else has happened, into a lasting one."""
    passing = models.InstanceState(*through)
    instance._state = passing

    def arrive():
        if instance._state is passing:
            instance._state = models.InstanceState(*to)

    timer = threading.Timer(TRANSITION_SECONDS, arrive)
    timer.daemon = True
    timer.start()


def refuse_unless(instance, states, what):
    if instance.state not in states:
        raise error(
            "IncorrectInstanceState",
            f"The instance '{instance.id}' is not in a state from which it can be {what} ({instance.state}).",
        )


moto_start, moto_stop, moto_terminate = models.Instance.start, models.Instance.stop, models.Instance.terminate


def start(self):
    refuse_unless(self, ("stopped", "pending", "running"), "started")
    if self.state != "stopped":
        return self._state
    before = moto_start(self)
    self.launch_time = datetime.now(timezone.utc).replace(tzinfo=None)
    move(self, ("pending", 0), ("running", 16))
    return before


def stop(self):
    refuse_unless(self, ("running", "stopping", "stopped"), "stopped")
    if self.state != "running":
        return self._state
    before = moto_stop(self)
    move(self, ("stopping", 64), ("stopped", 80))
    return before


def terminate(self):
    if self.state in ("shutting-down", "terminated"):
        return self._state
    before = moto_terminate(self)
    move(self, ("shutting-down", 32), ("terminated", 48))
    return before


models.Instance.start, models.Instance.stop, models.Instance.terminate = start, stop, terminate

if ADDRESS:
    address = property(lambda self: ADDRESS if self.state in ("pending", "running") else None)
    models.Instance.public_ip = models.Instance.public_ip_address = address


# --- DescribeInstances: not everything at once

moto_all_reservations = models.InstanceBackend.all_reservations


def all_reservations(self, filters=None):
    seen = []
    for reservation in moto_all_reservations(self, filters):
        visible = [i for i in reservation.instances if getattr(i, "strict_visible_at", 0) <= time.monotonic()]
        if visible:
            reservation.instances = visible
            seen.append(reservation)
    return seen


models.InstanceBackend.all_reservations = all_reservations

moto_describe_instances = responses.InstanceResponse.describe_instances


def describe_instances(self):
    # A server may always answer with less than the caller's MaxResults.
    if not self._get_param("InstanceIds", []):
        self.params["MaxResults"] = min(int(self._get_param("MaxResults", PAGE)), PAGE)
    return moto_describe_instances(self)


responses.InstanceResponse.describe_instances = describe_instances


# --- HTTP: who asks, and ordered errors

REGIONS = Session().get_available_regions("ec2")
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request, *SignedHeaders=([^,]+), *Signature=(\w+)"
)


def refusal(environ, body):
    """The code and message for a request that AWS would not believe, or None."""
    found = AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
    if not found:
        return "MissingAuthenticationToken", "Request is missing Authentication Token"
    access_key, region, service, signed, signature = found.groups()
    if region not in REGIONS:
        return "AuthFailure", "Credential should be scoped to a valid region."
    url = f"http://{environ['HTTP_HOST']}{environ['PATH_INFO']}"
    request = AWSRequest(environ["REQUEST_METHOD"], url, data=body)
    for name in signed.split(";"):
        variable = name.upper().replace("-", "_")
        request.headers[name] = environ.get(f"HTTP_{variable}") or environ.get(variable, "")
    request.context["timestamp"] = environ.get("HTTP_X_AMZ_DATE", "")
    auth = SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), service, region)
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if (access_key, signature) != (ACCESS_KEY, expected):
        return "AuthFailure", "AWS was not able to validate the provided access credentials"
    return None


class Strict:
    """The application around moto's."""

    def __init__(self, app):
        self.app = app
        self.faults = []
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if environ["PATH_INFO"] == "/strict/faults":
            with self.lock:
                self.faults.append(json.loads(body))
            start_response("204 No Content", [])
            return []
        # Services with the JSON protocol (KMS) name the action in a header: TrentService.Sign.
        target = environ.get("HTTP_X_AMZ_TARGET")
        say_error = json_error if target else xml_error
        refused = refusal(environ, body)
        if refused:
            return say_error(start_response, 401, *refused)
        action = target.split(".")[-1] if target else parse_qs(body.decode()).get("Action", [""])[0]
        fault = self.next_fault(action)
        if fault is None:
            return self.app(environ, start_response)
        time.sleep(fault.get("delay", 0))
        if fault.get("carried_out"):
            b"".join(self.app(environ, lambda *_: None))
        return say_error(start_response, fault["status"], fault["code"], fault.get("message", "as ordered"))

    def next_fault(self, action):
        with self.lock:
            for fault in self.faults:
                if fault["action"] == action and fault.get("times", 1) > 0:
                    fault["times"] = fault.get("times", 1) - 1
                    return fault
        return None


def xml_error(start_response, status, code, message):
    body = (
        f"<Response><Errors><Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error></Errors>"
        "<RequestID>00000000-0000-4000-8000-000000000000</RequestID></Response>"
    ).encode()
    start_response(f"{status} Refused", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
    return [body]


def json_error(start_response, status, code, message):
    body = json.dumps({"__type": code, "message": message}).encode()
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))]
    start_response(f"{status} Refused", headers)
    return [body]


class Quiet(WSGIRequestHandler):
    def log_request(self, *_):
        pass


def main():
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, Strict(app), threaded=True, request_handler=Quiet)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # until whoever started us is gone
    os._exit(0)


main()
