"""All rows of this app, where Django looks for them. Each is defined in the room that writes it."""

from notifications.access.models import Revocation, Ticket
from notifications.channels.models import ChannelCursor, ChannelMark
from notifications.log.models import Notification, Stream, Writes, new_stream_id

__all__ = ["ChannelCursor", "ChannelMark", "Notification", "Revocation", "Stream", "Ticket", "Writes", "new_stream_id"]
