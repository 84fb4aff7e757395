"""Every HTTP route."""

from django.contrib import admin
from django.urls import include, path

from api.documents import asyncapi

handler404 = "config.errors.not_found"
handler500 = "config.errors.server_error"

urlpatterns = [
    path("api/v1/", include("api.urls")),
    path("asyncapi.yaml", asyncapi, name="asyncapi-root"),
    path("admin/", admin.site.urls),
    path("", include("orders.pages.urls")),
]
