"""The routes below `/api/v1/`; `/api/v1/stream` is `notifications.sockets.routing`'s."""

from django.urls import include, path, re_path
from rest_framework.routers import SimpleRouter

from api.documents import DocsPage, SchemaView, asyncapi
from api.inbox import NotificationsView, ReadView, UnreadCountView
from api.snapshot import SnapshotView
from api.tickets import ExchangeView, TicketsView
from api.tokens import TokensView, TokenView
from api.views import OrderViewSet

router = SimpleRouter(trailing_slash=False)
router.register("orders", OrderViewSet, basename="order")

urlpatterns = [
    path("", include(router.urls)),
    path("notifications", NotificationsView.as_view(), name="notifications"),
    path("notifications/read", ReadView.as_view(), name="notifications-read"),
    path("notifications/unread-count", UnreadCountView.as_view(), name="notifications-unread-count"),
    path("snapshot", SnapshotView.as_view(), name="snapshot"),
    path("tickets", TicketsView.as_view(), name="tickets"),
    path("tickets/exchange", ExchangeView.as_view(), name="tickets-exchange"),
    path("schema", SchemaView.as_view(), name="schema"),
    path("asyncapi.yaml", asyncapi, name="asyncapi"),
    path("docs", DocsPage.as_view(), name="docs"),
    path("tokens", TokensView.as_view(), name="tokens"),
    re_path(r"^tokens/(?P<token_key>[0-9a-f]{8,64})$", TokenView.as_view(), name="token"),
]
