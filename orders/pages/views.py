"""The customer's pages: rendered whole on the server, then kept up to date by the socket.

Each page carries the position in the user's stream that it was read at, and reads that position first: what changes in
between reaches the page twice, and the second time changes nothing, but it is never missed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from django.contrib.auth.decorators import login_required, permission_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from notifications.log import stream
from notifications.log.stream import Position
from notifications.sockets import connection
from orders import conversation, lifecycle
from orders.lifecycle import Status
from orders.messages import MAX_TEXT
from orders.models import Order
from orders.pages import wording
from orders.selectors import orders_found, orders_of, orders_visible_to, timeline_of
from orders.services import OrderError

SOCKET = "/ws/notifications"
BOARD_SOCKET = "/ws/board"

#: Orders on one page of the list: some screens of a phone.
ORDERS_ON_A_PAGE = 20
#: Notifications on the page behind the bell.
NEWEST_UPDATES = 50
#: Orders in one column of the board, and orders that a search shows.
ORDERS_IN_A_COLUMN = 50
ORDERS_FOUND = 200
#: Messages of a conversation that its page begins with; earlier ones are asked for.
MESSAGES_SHOWN = 50
#: Characters of a search: no number, name or tracking number has more.
LONGEST_SEARCH = 150


@require_GET
@login_required
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """The user's own orders, newest first."""
    position = stream.position(_user_id(request))
    page = Paginator(orders_of(request.user), ORDERS_ON_A_PAGE).get_page(request.GET.get("page"))
    return _page(request, "home", position, page=page, orders=page.object_list)


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def order(request: HttpRequest, number: str) -> HttpResponse:
    """One order, its timeline and what was said about it. An order that the user may not see does not exist.

    A POST writes a message, as the page's script does over the socket or the API: the form works without it too.
    """
    position = stream.position(_user_id(request))
    found = get_object_or_404(orders_visible_to(request.user), number=number)
    talk: dict[str, Any] = {"client_id": uuid4().hex}
    status = HTTPStatus.OK
    if request.method == "POST":
        refusal = _say(request, found)
        if refusal is None:
            return redirect(f"{request.path}#conversation")
        too_many = isinstance(refusal, conversation.TooManyMessages)
        status = HTTPStatus.TOO_MANY_REQUESTS if too_many else HTTPStatus.BAD_REQUEST
        talk = {"text": request.POST.get("text", "")[:MAX_TEXT], "problem": str(refusal), **talk}
    # Nothing about somebody else's order comes through the user's own stream; staff watch it as the board does.
    socket = SOCKET if found.customer_id == request.user.pk else BOARD_SOCKET
    side = conversation.side_of(request.user, found)
    if side is not None:
        newest = list(conversation.messages_of(found)[: MESSAGES_SHOWN + 1])
        talk |= {"side": str(side), "said": newest[MESSAGES_SHOWN - 1 :: -1], "earlier": len(newest) > MESSAGES_SHOWN}
    return _page(
        request,
        "order",
        position,
        status=status,
        order=found,
        timeline=timeline_of(found),
        socket=socket,
        talk=talk,
    )


def _say(request: HttpRequest, about: Order) -> OrderError | None:
    """Keep the message of a form; gives what is wrong with it."""
    text, client_id = request.POST.get("text", ""), request.POST.get("client_id", "")
    try:
        # A form has CR and LF where the text has LF, and twice the characters for it.
        text = text[: 2 * MAX_TEXT].replace("\r\n", "\n")
        conversation.write(order=about, author=request.user, text=text, client_id=client_id)
    except Order.DoesNotExist:
        raise Http404 from None
    except OrderError as refusal:
        return refusal
    return None


@require_GET
@login_required
@never_cache
def updates(request: HttpRequest) -> HttpResponse:
    """What the bell counts: the newest notifications, and which of them are new."""
    user_id = _user_id(request)
    position = stream.position(user_id)
    after = max(0, position.head - NEWEST_UPDATES)
    frames = [json.loads(entry.frame) for entry in stream.read_after({user_id: after}, limit=NEWEST_UPDATES)[user_id]]
    return _page(request, "updates", position, notifications=[_told(frame) for frame in reversed(frames)])


@require_POST
@login_required
def mark_read(request: HttpRequest) -> HttpResponse:
    """Everything up to the number in the form is read; what came after the form was rendered is not."""
    with suppress(connection.BadPosition):
        stream.mark_read(_user_id(request), connection.number(request.POST.get("up_to")) or 0)
    return redirect("updates")


@require_GET
@login_required
@permission_required("orders.view_order", raise_exception=True)
@never_cache
def board(request: HttpRequest) -> HttpResponse:
    """All orders by status, newest first, or those that `?q=` finds."""
    position = stream.position(_user_id(request))
    text = request.GET.get("q", "").strip()[:LONGEST_SEARCH]
    visible = orders_visible_to(request.user).select_related("conversation")
    may_reply = request.user.has_perm(conversation.REPLY)
    waiting = conversation.waiting(visible)
    only_waiting = may_reply and request.GET.get("waiting") == "1"
    if only_waiting:
        visible = waiting
    columns: dict[Status, list[Order]] = {status: [] for status in Status}
    if text:
        for found in orders_found(visible, text)[:ORDERS_FOUND]:
            columns[Status(found.status)].append(found)
    else:
        columns = {status: list(visible.filter(status=status)[:ORDERS_IN_A_COLUMN]) for status in Status}
    return _page(
        request,
        "board",
        position,
        socket=BOARD_SOCKET,
        search=text,
        may_reply=may_reply,
        only_waiting=only_waiting,
        waiting_count=waiting.count() if may_reply else 0,
        columns=columns.items(),
        limit=ORDERS_FOUND if text else ORDERS_IN_A_COLUMN,
        blank=Order(number="-", status=Status.PENDING),
        steps={
            status.value: {"label": status.label.capitalize(), "allowed": lifecycle.allowed(status)}
            for status in Status
        },
        may_change=request.user.has_perm("orders.change_order"),
    )


def _page(
    request: HttpRequest, name: str, position: Position, *, status: HTTPStatus = HTTPStatus.OK, **context: Any
) -> HttpResponse:
    return render(
        request,
        f"pages/{name}.html",
        {"socket": SOCKET, **context, "position": position, "wording": wording.table()},
        status=status.value,
    )


def _told(frame: dict[str, Any]) -> dict[str, Any]:
    """A stored frame with its time as a time."""
    return {**frame, "at": datetime.fromisoformat(frame["at"])}


def _user_id(request: HttpRequest) -> int:
    user_id: int = request.user.pk  # type: ignore[assignment]  # login_required lets nobody else in
    return user_id
