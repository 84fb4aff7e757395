"""The document's views, and a log-in."""

from django.contrib.auth.views import LoginView
from django.http import HttpResponse
from django.template import engines
from django.urls import path

from tests.shop import document

views = {"__name__": "tests.shop.views"}
exec(document.python("import httpx"), views)  # noqa: S102 -- our own document
orders_html = engines["django"].from_string(document.page())
views["render"] = lambda request, _: HttpResponse(orders_html.render(request=request))

urlpatterns = [
    path("", views["orders"]),
    path("orderwire-ticket", views["orderwire_ticket"]),
    path("my-orders", views["my_orders"]),
    path("log-in", LoginView.as_view()),
    path("favicon.ico", lambda _: HttpResponse(status=204)),
]
