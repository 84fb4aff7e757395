"""Everybody who was there before has a stream, as everybody who comes has."""

from django.conf import settings
from django.db import migrations


def begin_streams(apps, schema_editor):
    users = apps.get_model(settings.AUTH_USER_MODEL)._default_manager.filter(stream=None)
    stream = apps.get_model("notifications", "Stream")
    batch = [stream(user_id=pk) for pk in users.values_list("pk", flat=True)]
    stream.objects.bulk_create(batch, batch_size=1_000, ignore_conflicts=True)


class Migration(migrations.Migration):
    dependencies = [("notifications", "0001_initial")]

    operations = [migrations.RunPython(begin_streams, migrations.RunPython.noop)]
