"""Holds the bytes of answers against the service model that botocore brings."""

import base64
import json


class Answers:
    """Watches clients: which operations had a good answer, and whether each answer is what the model says."""

    def __init__(self):
        self.succeeded = set()
        self.count = 0

    def watch(self, client):
        client.meta.events.register("before-parse", self._answered)

    def _answered(self, operation_model, response_dict, **_):
        operation = operation_model.name
        if response_dict["status_code"] == 200:
            self.succeeded.add(operation)
        if operation_model.metadata["protocol"] != "json":
            return
        self.count += 1
        headers, body = response_dict["headers"], response_dict["body"]
        assert headers["content-type"] == "application/x-amz-json-1.1", headers
        assert headers["x-amzn-requestid"], headers
        if response_dict["status_code"] != 200:
            check_error(operation_model, json.loads(body))
        elif operation_model.output_shape is None:
            assert body in (b"", b"{}"), f"{operation} has no output and answered {body}"
        else:
            check(json.loads(body), operation_model.output_shape, operation)


# What every operation can answer, and the model therefore does not say. Source: API reference, "Common Errors".
COMMON = {
    "AccessDeniedException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SerializationException",
    "ThrottlingException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "ValidationException",
}


def check_error(operation_model, body):
    operation = operation_model.name
    assert isinstance(body.get("__type"), str), f"{operation}: {body}"
    known = {shape.name for shape in operation_model.error_shapes} | COMMON
    assert body["__type"] in known, f"{operation} does not declare {body['__type']}"
    assert isinstance(body.get("message", ""), str), f"{operation}: {body}"
    assert body.keys() <= {"__type", "message"}, f"{operation}: {body}"


def check(value, shape, path):
    """Every member known, every required one there, every value of its type and within its bounds."""
    assert value is not None, f"{path} is null"
    CHECKS[shape.type_name](value, shape, path)


def _structure(value, shape, path):
    assert isinstance(value, dict), f"{path} is {value!r}"
    # What this service says of itself beside the model has a name that nobody else gives.
    value = {name: member for name, member in value.items() if not name.startswith("HsmKms")}
    unknown = value.keys() - shape.members.keys()
    assert not unknown, f"{path} has {unknown}, which the model does not know"
    missing = set(shape.required_members) - value.keys()
    assert not missing, f"{path} lacks {missing}"
    for name, member in value.items():
        check(member, shape.members[name], f"{path}.{name}")


def _list(value, shape, path):
    assert isinstance(value, list), f"{path} is {value!r}"
    for number, element in enumerate(value):
        check(element, shape.member, f"{path}[{number}]")


def _map(value, shape, path):
    assert isinstance(value, dict), f"{path} is {value!r}"
    for name, element in value.items():
        check(element, shape.value, f"{path}[{name}]")


def _string(value, shape, path):
    assert isinstance(value, str), f"{path} is {value!r}"
    assert not shape.enum or value in shape.enum, f"{path} is {value!r}, not one of {shape.enum}"
    # AWS itself answers "" for a grant without a name, against its model.
    if (value, shape.name) != ("", "GrantNameType"):
        _bounds(len(value), shape, path)


def _blob(value, shape, path):
    assert isinstance(value, str), f"{path} is {value!r}"
    _bounds(len(base64.b64decode(value, validate=True)), shape, path)


def _integer(value, shape, path):
    assert type(value) is int, f"{path} is {value!r}"
    _bounds(value, shape, path)


def _timestamp(value, shape, path):
    assert type(value) in (int, float), f"{path} is {value!r}"
    assert 1e9 < value < 1e10, f"{path} is {value!r}, which is not in seconds"


def _boolean(value, shape, path):
    assert type(value) is bool, f"{path} is {value!r}"


def _bounds(size, shape, path):
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    assert low is None or size >= low, f"{path}: {size} is below {low}"
    assert high is None or size <= high, f"{path}: {size} is above {high}"


CHECKS = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "blob": _blob,
    "integer": _integer,
    "timestamp": _timestamp,
    "boolean": _boolean,
}
