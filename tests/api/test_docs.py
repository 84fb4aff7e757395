"""docs/api.md tells the truth: every request on it is sent, in order, and answered as it says."""

import json
import re
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import AbstractUser, Permission
from django.http import HttpResponse
from django.test import Client
from knox.models import AuthToken

from notifications.access import tickets
from tests.process import ROOT

#: Stands for whatever is there; as a member's name, for further members; at the head of a list, for any before.
ANY = "…"


class Message(NamedTuple):
    """One block of the page: its first line, its headers, its body."""

    start: str
    headers: dict[str, str]
    body: str


def messages() -> list[Message]:
    blocks = re.findall(r"^```http\n(.*?)^```", (ROOT / "docs" / "api.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    found = []
    for block in blocks:
        head, _, body = block.partition("\n\n")
        start, *headers = head.strip().splitlines()
        found.append(Message(start, dict(header.split(": ", 1) for header in headers), body.strip()))
    return found


def same(told: Any, given: Any, found: dict[str, str] | None = None) -> bool:
    """Whether what is told, with its `…`, is what was given. A `$NAME` is whatever is there, and kept in `found`."""
    if told == ANY:
        return True
    if found is not None and isinstance(told, str) and told.startswith("$") and told not in found:
        found[told] = given
        return True
    if isinstance(told, dict) and isinstance(given, dict):
        named = {name: value for name, value in told.items() if name != ANY}
        complete = ANY in told or named.keys() == given.keys()
        return complete and all(name in given and same(value, given[name], found) for name, value in named.items())
    if isinstance(told, list) and isinstance(given, list):
        if told[:1] == [ANY] and len(told) > 1:
            told, given = told[1:], given[-len(told) + 1 :]
        return len(told) == len(given) and all(same(one, other, found) for one, other in zip(told, given, strict=True))
    return bool(told == given)


@pytest.mark.django_db(transaction=True)
def test_every_example_is_answered_as_it_stands_there(alice: AbstractUser, staff: AbstractUser):
    staff.user_permissions.remove(Permission.objects.get(codename="override_status"))
    (_, of_staff), (hers, of_alice) = AuthToken.objects.create(staff), AuthToken.objects.create(alice)
    secrets = {"$STAFF": of_staff, "$ALICE_ID": hers.token_key, "$ALICE": of_alice}
    secrets["$TICKET"] = tickets.issue(alice.pk).ticket
    page = messages()
    asked = 0
    for request, expected in zip(page[::2], page[1::2], strict=True):
        text = "\n".join([request.start, *(f"{name}: {value}" for name, value in request.headers.items())])
        body = request.body
        for name, secret in secrets.items():
            text, body = text.replace(name, secret), body.replace(name, secret)
        start, *headers = text.splitlines()
        method, path = start.split(" ")
        sent = dict(header.split(": ", 1) for header in headers)
        answer: Any = Client().generic(method, path, body, sent.pop("Content-Type", ""), headers=sent)
        check(answer, expected, f"{request.start}\n{request.body}", secrets)
        asked += 1
    assert asked >= 15


def check(answer: HttpResponse, expected: Message, example: str, found: dict[str, str]) -> None:
    _, status, phrase = expected.start.split(" ", 2)
    given = f"{example}\n\n{answer.status_code} {dict(answer.headers)}\n{answer.content.decode()}"
    assert (answer.status_code, answer.reason_phrase) == (int(status), phrase), given
    for name, value in expected.headers.items():
        assert name in answer.headers, given
        assert value in (ANY, answer.headers[name]), given
    if expected.body:
        assert same(json.loads(expected.body), json.loads(answer.content), found), given
    else:
        assert answer.content == b"", given


def test_an_example_that_is_wrong_is_noticed():
    assert same({"a": [1, {"b": "…"}], "…": "…"}, {"a": [1, {"b": 5}], "c": 6})
    assert same(["…", 2], [1, 2])
    for told, given in (
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "…": "…"}, {"b": 2}),
        ([1], [1, 2]),
        (["…", 2], [2, 1]),
        ({"a": 1}, {"a": 2}),
    ):
        assert not same(told, given)
