"""The library's pages."""

from django.contrib.auth import views as auth
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import path
from lending import views

urlpatterns = [
    path("", views.shelf, name="shelf"),
    path("login", auth.LoginView.as_view(), name="login"),
    path("logout", auth.LogoutView.as_view(next_page="login"), name="logout"),
    *staticfiles_urlpatterns(),
]
