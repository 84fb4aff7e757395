"""Whose names are alike: a row for each user there is. Of two that are alike already, the older one has the row."""

import django.db.models.deletion
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import migrations, models

from orders.customers import likeness


def remember_names(apps, schema_editor):
    users = apps.get_model(settings.AUTH_USER_MODEL)._default_manager.order_by("pk")
    row = apps.get_model("orders", "CustomerName")
    names = users.values_list("pk", get_user_model().USERNAME_FIELD)
    rows = [row(user_id=pk, likeness=likeness(str(name))) for pk, name in names]
    row.objects.bulk_create(rows, batch_size=1_000, ignore_conflicts=True)


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0002_shapes'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='CustomerName',
            fields=[
                ('user', models.OneToOneField(editable=False, on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('likeness', models.CharField(editable=False, max_length=64, unique=True)),
            ],
        ),
        migrations.RunPython(remember_names, migrations.RunPython.noop),
    ]
