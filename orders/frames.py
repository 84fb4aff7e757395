"""What clients send about orders over a socket: a message of a conversation, and that somebody is typing one.

`config` gives `FRAMES` to the engine, which bounds their length and their rate and calls them with who sent each.
Whether the sender may is asked of `orders.conversation` at every frame, as it is over HTTP. Nothing is kept of
somebody's typing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist

from notifications.access.credentials import Credential
from notifications.hints import publish
from notifications.log import stream
from notifications.protocol import BadFrame, Refusal
from notifications.sockets.inbound import ClientFrame
from orders import conversation
from orders.board import BOARD, message_frame
from orders.messages import MAX_TEXT, Side
from orders.models import Order
from orders.shapes import FORBIDDEN

#: Characters of a `message` frame. JSON may write each of a text's in 12, an emoji as two escapes; the rest is the
#: number, the id and the names of the members.
MAX_MESSAGE_FRAME = 12 * MAX_TEXT + 1_000
LONGEST_NUMBER = Order._meta.get_field("number").max_length or 0
#: A frame of the protocol's own size is more than enough for a number.
MAX_TYPING_FRAME = 1_000


def write(credential: Credential, fields: Mapping[str, Any]) -> str:
    """`message {order, text, client_id}`: keep it; the answer is `message` with the id that it is kept by.

    Raises `Refusal` for what is no message, or one too many, and `BadFrame` for an order that the sender knows nothing
    of: the tenth of those ends the connection.
    """
    order, user = _asked(credential, fields)
    text, client_id = fields.get("text"), fields.get("client_id", "")
    if not (isinstance(text, str) and isinstance(client_id, str)):
        raise BadFrame("invalid_field", "message needs order and text, and may have client_id: texts.")
    try:
        message = conversation.write(order=order, author=user, text=text, client_id=client_id).message
    except Order.DoesNotExist:
        raise _unknown() from None
    except conversation.TooManyMessages as error:
        raise Refusal(error.code, str(error), retry_after=math.ceil(error.wait)) from None
    except (conversation.BadMessage, conversation.ClientIdReused) as error:
        raise Refusal(error.code, str(error)) from None
    return message_frame(
        number=order.number, key=message.pk, side=message.side, at=message.written_at, client_id=message.client_id
    )


def tell_typing(credential: Credential, fields: Mapping[str, Any]) -> None:
    """`typing {order}`: tell the other side, if it is there. Raises `BadFrame` as `write` does."""
    order, user = _asked(credential, fields)
    side = conversation.side_of(user, order)
    if side is None:
        raise _unknown()
    told = {"order": order.number, "who": str(side)}
    if side == Side.CUSTOMER:
        publish.on_commit(publish.TopicAside(BOARD, "typing", told))
    elif (uid := stream.uid_of(order.customer_id)) is not None:
        publish.on_commit(publish.Aside(order.customer_id, uid, "typing", told))


def _asked(credential: Credential, fields: Mapping[str, Any]) -> tuple[Order, Any]:
    """The order that a frame names, and its sender as they are now. Raises `BadFrame`."""
    number = fields.get("order")
    if not isinstance(number, str) or len(number) > LONGEST_NUMBER or FORBIDDEN.search(number):
        raise _unknown()
    users = get_user_model()._default_manager
    try:
        user = users.get(pk=credential.user_id)
        return conversation.order_numbered(number, user), user
    except ObjectDoesNotExist:  # the user, or an order that the user may see
        raise _unknown() from None


def _unknown() -> BadFrame:
    return BadFrame("not_found", "There is no such order.")


#: What clients may send beside the protocol's own frames.
FRAMES = (
    # The service counts an author's messages; this bounds what the count itself may cost.
    ClientFrame("message", take=write, max_characters=MAX_MESSAGE_FRAME, rate=(10, 10.0)),
    # Clients say it every three seconds while somebody types.
    ClientFrame("typing", take=tell_typing, max_characters=MAX_TYPING_FRAME, rate=(5, 10.0)),
)
