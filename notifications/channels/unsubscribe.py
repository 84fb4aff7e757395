"""Saying no to a channel with one click, from a mail program or from a browser, without logging in (RFC 8058).

The address has a signed token that names the channel and the user, and opens nothing else. It does not expire: a mail
may be read after a year. GET shows a page with a button and changes nothing, since mail scanners follow links; POST
says no, or with `again` yes. A project puts the view at an address of its own under the name `unsubscribe`, with a
template for the page.
"""

from __future__ import annotations

from http import HTTPStatus

from django.core import signing
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from notifications import users
from notifications.channels import channel
from notifications.channels.models import ChannelCursor
from notifications.conf import settings
from notifications.log.models import Stream
from notifications.users import UserKey

SALT = "notifications.channels.unsubscribe"
#: Characters of a token: a name of 32, a key of 255 at most (a text, in JSON), and the signature.
LONGEST = 1_000


def url(name: str, user_id: UserKey) -> str:
    """The address for one user and one channel."""
    token = signing.dumps([name, users.text(user_id)], salt=SALT)
    return settings.SITE_URL + reverse("unsubscribe", kwargs={"token": token})


def said_by(token: str) -> tuple[str, UserKey]:
    """The channel and the user that a token names. Raises `signing.BadSignature` for one that is not ours."""
    if len(token) > LONGEST:
        raise signing.BadSignature("This is too long for a token.")
    name, user = signing.loads(token, salt=SALT)
    return name, users.key(user)


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def unsubscribe(request: HttpRequest, token: str, template: str) -> HttpResponse:
    """The page, and what its buttons and mail programs post. `template` gets `off`: whether the channel is off now."""
    try:
        name, user_id = said_by(token)
        if not channel.known(name):
            raise Http404
    except (signing.BadSignature, ValidationError):
        raise Http404 from None
    if request.method == "POST":
        switch(name, user_id, off="again" not in request.POST)
    off = ChannelCursor.objects.filter(channel=name, stream_id=user_id, off_at__isnull=False).exists()
    return render(request, template, {"off": off}, status=HTTPStatus.OK)


@transaction.atomic
def switch(name: str, user_id: UserKey, *, off: bool) -> None:
    """Switch a channel off or on for one user. What has happened until then is not delivered later."""
    # A stream begins with its user; a user who has been deleted since has nothing to say no to.
    where = Stream.objects.filter(pk=user_id).first()
    if where is None:
        return
    new = ChannelCursor(channel=name, stream=where)
    ChannelCursor.objects.bulk_create([new], ignore_conflicts=True)
    mine = ChannelCursor.objects.filter(channel=name, stream=where)
    if off:
        mine.filter(off_at__isnull=True).update(
            off_at=timezone.now(), due_at=None, attempting_up_to=None, delivered=[], attempting="", again=False
        )
    else:
        mine.filter(off_at__isnull=False).update(off_at=None, sent_up_to=where.head)
