"""The pages: the customer's, and the staff's board."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path, re_path

from notifications.channels.unsubscribe import unsubscribe
from orders.numbers import IN_ROUTE
from orders.pages import views

urlpatterns = [
    path("", views.home, name="home"),
    re_path(rf"^orders/(?P<number>{IN_ROUTE})\Z", views.order, name="order-page"),
    path("board", views.board, name="board"),
    path("updates", views.updates, name="updates"),
    path("updates/read", views.mark_read, name="updates-read"),
    path(
        "login",
        LoginView.as_view(template_name="pages/login.html", redirect_authenticated_user=True),
        name="login",
    ),
    path("logout", LogoutView.as_view(), name="logout"),
    path("unsubscribe/<str:token>", unsubscribe, {"template": "pages/unsubscribe.html"}, name="unsubscribe"),
]
