"""Who may call what. Whose orders somebody sees is decided in `orders.selectors`; here is what they may do."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from orders import conversation

SAFE = ("GET", "HEAD")
#: One of them; what each line of a batch needs is asked for each.
BATCH = {"orders.add_order", "orders.change_order"}


class OrderPermission(BasePermission):
    """Everybody who is logged in may read what they can see; writing needs the model's permission.

    Whether somebody may change an order is asked once it was found among those that they see: of an order of somebody
    else's they learn nothing but 404, whatever the method.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            return False
        # Of a method that the view does not have the view itself says so.
        if view.detail or view.action in (None, "metadata") or request.method in SAFE:
            return True
        needed = BATCH if view.action == "batch" else {"orders.add_order"}
        return request.method == "POST" and any(map(request.user.has_perm, needed))

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        if view.action == "messages":
            return conversation.side_of(request.user, obj) is not None
        if request.method in SAFE:
            return True
        needed = {"PATCH": "orders.change_order", "DELETE": "orders.delete_order"}.get(request.method or "")
        return needed is not None and request.user.has_perm(needed)
