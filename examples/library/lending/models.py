"""Readers, who log in by e-mail address, and the books that they have reserved."""

import uuid

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class Readers(BaseUserManager):
    def create_user(self, email, password=None):
        reader = self.model(email=self.normalize_email(email))
        reader.set_password(password)
        reader.save()
        return reader


class Reader(AbstractBaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)

    USERNAME_FIELD = "email"
    objects = Readers()

    def __str__(self):
        return self.email


class Reservation(models.Model):
    reader = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reservations")
    title = models.CharField(max_length=200)
    ready_at = models.DateTimeField(null=True)

    def __str__(self):
        return self.title
