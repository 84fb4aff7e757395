"""Customers with a UUID for a key and an e-mail address for a user name, as shops have them."""

import uuid

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class Customers(BaseUserManager):
    def create_all(self, emails: list[str], password: str) -> None:
        """With one password, which a test knows."""
        for email in emails:
            customer = self.model(email=email)
            customer.set_password(password)
            customer.save()


class Customer(AbstractBaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    objects = Customers()

    USERNAME_FIELD = "email"
