"""What other rooms may hear of orders, and the net under every way of saving one.

`record` hangs on `post_save`, so a status that is saved by the API, the admin, a shell or a task is always written
into the history and announced. The announcements go out inside the transaction of the change: a receiver that raises
undoes the change. All of them carry lists, so that a batch is announced once.
"""

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import Signal, receiver
from django.utils import timezone

from orders.models import Order, StatusChange

#: `orders: list[Order]`, `notify: bool`: orders that now exist.
orders_created = Signal()
#: `changes: list[StatusChange]`, applied ones, each with its order loaded.
statuses_changed = Signal()
#: `orders: list[Order]`, `notify: bool`: orders of which something else than the status changed.
orders_updated = Signal()


@receiver(post_save, sender=Order)
def record(*, instance: Order, created: bool, raw: bool = False, **_: Any) -> None:
    """Write the history of this save, and announce it. Fixtures (`raw`) bring their own history."""
    if raw:
        return
    before = "" if created else instance.loaded_status
    context = instance.context
    if before == instance.status:
        orders_updated.send(sender=Order, orders=[instance], notify=context.notify)
        return
    change = StatusChange.objects.create(
        order=instance,
        from_status=before,
        to_status=instance.status,
        occurred_at=instance.status_since,
        recorded_at=timezone.now(),
        actor=context.actor,
        note=context.note,
        notify=context.notify,
    )
    if created:
        orders_created.send(sender=Order, orders=[instance], notify=context.notify)
    else:
        statuses_changed.send(sender=Order, changes=[change])
