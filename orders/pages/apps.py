"""The pages: what customers and staff see of orders in a browser."""

from django.apps import AppConfig


class PagesConfig(AppConfig):
    name = "orders.pages"
    label = "pages"
