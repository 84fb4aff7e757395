"""Who may act for whom: the one rule for every credential that somebody makes for somebody else.

A token, a ticket or a password never gives what its maker does not have. Called by whatever makes one: the admin and
the API. Which kinds of users a maker may name beside that is for the caller to decide.
"""

from __future__ import annotations

from typing import Any

#: To act for another user is to read that user's stream, and this permission is the one to do that.
ACT_FOR_OTHERS = "notifications.issue_ticket"


def may_act_for(maker: Any, user: Any) -> bool:
    """Whether `maker` may have a credential that is good for `user`.

    For oneself always, and a superuser for everybody. Others need `ACT_FOR_OTHERS`, and all that the user may do.
    """
    if not maker.is_active:
        return False
    return maker.pk == user.pk or (has_all_of(maker, user) and bool(maker.has_perm(ACT_FOR_OTHERS)))


def has_all_of(maker: Any, user: Any) -> bool:
    """Whether `maker` may do all that `user` may.

    Permissions count, and not who is called staff: they are what the API asks for. A user who is not active has none
    now, and might have many once active again; that is for a superuser.
    """
    if maker.is_superuser:
        return bool(maker.is_active)
    if user.is_superuser or not user.is_active:
        return False
    return bool(user.get_all_permissions() <= maker.get_all_permissions())
