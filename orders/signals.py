"""What the core tells of orders; `notify` listens.

`history.record`, `saving` and `conversation` send these, inside the transaction of the change: a receiver that raises
undoes the change. Those of orders carry lists, so that many changes are announced at once. No signal is sent for an
update that moved nothing.
"""

from django.dispatch import Signal

#: `changes: list[StatusChange]`: the first entry of the history of each new order.
orders_created = Signal()
#: `changes: list[StatusChange]`: applied ones, each with its order as that change left it.
statuses_changed = Signal()
#: `orders: list[Order]`, `notify: bool`: orders of which something other than the status changed; `changed:
#: list[list[str]]` names, for each of them, the fields.
orders_updated = Signal()
#: `orders: list[Order]`: orders whose promised day is over, and that have not arrived.
orders_delayed = Signal()
#: `message: Message`: somebody has written about an order.
message_written = Signal()
