"""The reader's shelf."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from notifications.log import stream


@login_required
def shelf(request: HttpRequest) -> HttpResponse:
    # The position before the books: a book that becomes ready in between is then shown twice, and not lost.
    position = stream.position(request.user.pk)
    ready = request.user.reservations.exclude(ready_at=None).order_by("ready_at")
    return render(request, "lending/shelf.html", {"position": position, "ready": ready})
