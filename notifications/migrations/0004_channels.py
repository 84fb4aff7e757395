"""Channels: how far each has looked through the log, and how far each stream was delivered through it."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0003_any_user_model'),
    ]

    operations = [
        migrations.CreateModel(
            name='ChannelMark',
            fields=[
                ('channel', models.CharField(max_length=32, primary_key=True, serialize=False)),
                ('tx', models.BigIntegerField()),
                ('looked_at', models.DateTimeField()),
                ('failures', models.PositiveIntegerField(default=0)),
                ('paused_until', models.DateTimeField(null=True)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='ChannelCursor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel', models.CharField(max_length=32)),
                ('sent_up_to', models.PositiveBigIntegerField(default=0)),
                ('due_at', models.DateTimeField(null=True)),
                ('attempting_up_to', models.PositiveBigIntegerField(null=True)),
                ('delivered', models.JSONField(default=list)),
                ('attempting', models.CharField(blank=True, max_length=128)),
                ('again', models.BooleanField(default=False)),
                ('failures', models.PositiveIntegerField(default=0)),
                ('refused', models.CharField(blank=True, max_length=320)),
                ('off_at', models.DateTimeField(null=True)),
                ('stream', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='notifications.stream')),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['channel', 'due_at'], name='channel_due')],
                'constraints': [models.UniqueConstraint(fields=('stream', 'channel'), name='channel_cursor_is_one'), models.CheckConstraint(condition=models.Q(('off_at__isnull', True), ('due_at__isnull', True), _connector='OR'), name='channel_off_waits')],
            },
        ),
    ]
