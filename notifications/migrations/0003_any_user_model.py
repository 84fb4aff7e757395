"""Users' keys of any type; tickets that end with what issued them; a number of writes that never falls on SQLite."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notifications", "0002_streams_of_users")]

    operations = [
        migrations.AlterField("revocation", "user_id", models.CharField(max_length=255)),
        migrations.AlterModelOptions(
            "ticket", {"permissions": (("issue_ticket", "Can issue connection tickets for other users"),)}
        ),
        migrations.AlterField("ticket", "key", models.CharField(blank=True, max_length=64)),
        migrations.AddField(
            "ticket", "issuer", models.CharField(blank=True, default="", max_length=255), preserve_default=False
        ),
        migrations.AddField("ticket", "key_expires_at", models.DateTimeField(null=True)),
        migrations.AddField(
            "ticket", "issued_at", models.DateTimeField(default=django.utils.timezone.now), preserve_default=False
        ),
        migrations.AddField("ticket", "used_at", models.DateTimeField(null=True)),
        migrations.AddIndex("ticket", models.Index(fields=["issuer", "key"], name="ticket_issuer")),
        migrations.CreateModel(
            "Writes",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tx", models.BigIntegerField()),
            ],
        ),
    ]
