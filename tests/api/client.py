"""A caller of the API, in the process: Django's test client with a token, JSON in and out, paths below `/api/v1/`."""

import json
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.test import Client
from knox.models import AuthToken

from api import tokens

JSON = "application/json"


class Api:
    """One of the cast, or nobody. A `dict` is sent as JSON, `bytes` as they are; headers are named as on the wire."""

    def __init__(self, user: AbstractUser | None) -> None:
        self.client = Client()
        self.headers: dict[str, str] = {}
        if user is not None:
            known, token = AuthToken.objects.create(user)
            tokens.name_of(known)  # which a process asks for once, with the first call
            self.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: Any = None, *, content_type: str = JSON, **headers: str) -> "Answer":
        """The answer to one request; `headers` are written If_Match for If-Match."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        path = path if path.startswith("/") else f"/api/v1/{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(
            self.client.generic(method, path, data, content_type if data else "", headers={**self.headers, **named})
        )

    def get(self, path: str, **headers: str) -> "Answer":
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> "Answer":
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> "Answer":
        return self.call("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> "Answer":
        return self.call("DELETE", path, **headers)


class Answer:
    """What came back."""

    def __init__(self, response: Any) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.content = response.content
        self.type = response.headers.get("Content-Type", "")

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> str:
        """The code of a problem, which is checked to be one."""
        problem = self.json
        assert self.type == "application/problem+json", self.content
        members = {"type", "title", "status", "detail", "code", "errors", "request_id"}
        assert members <= problem.keys()
        assert problem["status"] == self.status
        assert problem["request_id"] == self.headers["X-Request-ID"]
        code: str = problem["code"]
        return code

    @property
    def errors(self) -> set[tuple[str, str]]:
        """The pointers and codes of a problem's errors."""
        assert self.code
        return {(error["pointer"], error["code"]) for error in self.json["errors"]}

    def __repr__(self) -> str:
        return f"<{self.status} {self.content.decode(errors='replace')[:500]}>"
