"""docs/asyncapi.yaml, and whether a frame is as it says."""

from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.process import ROOT

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())


def messages(action: str) -> list[dict[str, Any]]:
    """What the server sends (`send`) or takes (`receive`)."""
    names = {
        reference["$ref"].rpartition("/")[2]
        for operation in DOCUMENT["operations"].values()
        if operation["action"] == action
        for reference in operation["messages"]
    }
    return [DOCUMENT["components"]["messages"][name] for name in sorted(names)]


def check(frame: dict[str, Any], action: str = "send") -> None:
    """Raises `jsonschema.ValidationError` for a frame that the document knows nothing of, or otherwise."""
    [payload] = [
        message["payload"]
        for message in messages(action)
        if message["payload"]["properties"]["type"]["const"] == frame["type"]
    ]
    Draft202012Validator({**payload, "components": DOCUMENT["components"]}).validate(frame)
