"""A task's lines in the log carry the request id of what caused it; `celery` connects this.

The id of a request goes along with the tasks that it asks for, and with those that they ask for. A task that nobody's
request has caused, as those of beat, has its own id instead: all lines of one run can be found by it.
"""

from __future__ import annotations

from typing import Any

from celery.signals import before_task_publish, task_postrun, task_prerun

from config.request_id import usable
from notifications.problems import request_id

#: The name of the message's header, and so of the attribute of `task.request`.
HEADER = "request_id"


@before_task_publish.connect
def say_what_caused_it(*, headers: dict[str, Any], **_: Any) -> None:
    if known := request_id.get():
        headers[HEADER] = known


@task_prerun.connect
def begin(*, task: Any, task_id: str, **_: Any) -> None:
    if request_id.get():
        return  # It runs where it was asked for, within the request.
    given = getattr(task.request, HEADER, None)
    # The broker is believed as little as any caller: an id that could forge a line of the log is replaced.
    known = usable(given) if isinstance(given, str) else task_id
    task.request.reset_request_id = request_id.set(known)


@task_postrun.connect
def end(*, task: Any, **_: Any) -> None:
    """One process runs one task after the other, and none of them in the name of the one before."""
    token = getattr(task.request, "reset_request_id", None)
    if token is not None:
        request_id.reset(token)
