"""From an HTTP request to an HTTP answer, without a socket or a framework."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, unquote

import orjson

from stores.embedded.control_plane import ControlPlane
from stores.embedded.errors import ServiceError
from stores.embedded.faults import FaultDice, Faults
from stores.embedded.feature_group import Json
from stores.embedded.runtime import Runtime
from stores.embedded.storage import Storage

HEALTH_PATH = "/health"
DEFAULT_REGION = "ap-southeast-5"
DEFAULT_ACCOUNT = "000000000000"

Answer = tuple[int, dict[str, str], bytes]
_log = logging.getLogger(__name__)


class Endpoint:
    """Both services behind one address, as their clients speak to them; signatures are not checked."""

    def __init__(
        self,
        storage: Storage,
        *,
        region: str = DEFAULT_REGION,
        account: str = DEFAULT_ACCOUNT,
        faults: Faults | None = None,
        identity: Json | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.dice = FaultDice(faults or Faults())
        self._control_plane = ControlPlane(storage, self.dice, clock, region=region, account=account)
        self._runtime = Runtime(storage, self.dice, clock)
        self._identity = identity or {}

    def handle(self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request. `raw_path` is still percent-encoded, header names are in lower case."""
        if raw_path == HEALTH_PATH:
            return 200, {"content-type": "application/json"}, orjson.dumps(self._identity)
        if raw_path == "/":
            return self._handle_control_plane(headers.get("x-amz-target", ""), body)
        try:
            self.dice.refuse_call()
            return 200, {"content-type": "application/json"}, self._handle_runtime(method, raw_path, query, body)
        except ServiceError as error:
            return _runtime_error(error)
        except Exception:
            _log.exception("%s %s failed", method, raw_path)
            return _runtime_error(ServiceError("InternalFailure", 500, "Internal failure, see the server's log"))

    def _handle_control_plane(self, target: str, body: bytes) -> Answer:
        content_type = {"content-type": "application/x-amz-json-1.1"}
        try:
            answer = self._control_plane.run(target.removeprefix("SageMaker."), _json_object(body))
            return 200, content_type, orjson.dumps(answer)
        except ServiceError as error:
            refusal = error
        except Exception:
            _log.exception("%s failed", target)
            refusal = ServiceError("InternalFailure", 500, "Internal failure, see the server's log")
        return refusal.status, content_type, orjson.dumps({"__type": refusal.type_name, "message": refusal.message})

    def _handle_runtime(self, method: str, raw_path: str, query: str, body: bytes) -> bytes:
        runtime = self._runtime
        match method, raw_path.split("/")[1:]:
            case "POST", ["BatchWriteRecord"]:
                return orjson.dumps(runtime.batch_write_record(_json_object(body)))
            case "POST", ["BatchGetRecord"]:
                return orjson.dumps(runtime.batch_get_record(_json_object(body)))
            case "GET", ["FeatureGroup", name]:
                return orjson.dumps(runtime.get_record(unquote(name), _query(query)))
            case "PUT", ["FeatureGroup", name]:
                return orjson.dumps(runtime.put_record(unquote(name), _json_object(body)))
            case "DELETE", ["FeatureGroup", name]:
                return orjson.dumps(runtime.delete_record(unquote(name), _query(query)))
            case "POST", ["FeatureGroup", name, "Record"]:
                return orjson.dumps(runtime.update_record(unquote(name), _json_object(body)))
            case "POST", ["FeatureGroup", name, "ListRecords"]:
                return orjson.dumps(runtime.list_records(unquote(name), _json_object(body)))
        raise ServiceError("UnknownOperationException", 404, f"no operation at {method} {raw_path}")


def _json_object(body: bytes) -> Json:
    try:
        request = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        request = None
    if not isinstance(request, dict):
        raise ServiceError("SerializationException", 400, "the body is not a JSON object")
    return request


def _query(query: str) -> dict[str, list[str]]:
    return parse_qs(query, keep_blank_values=True)


def _runtime_error(error: ServiceError) -> Answer:
    headers = {"content-type": "application/json", "x-amzn-errortype": error.type_name}
    return error.status, headers, orjson.dumps({"Message": error.message})
