"""How long a backlog of what is over takes to go: `python -m benchmarks.retention`, over a PostgreSQL of its own.

It fills one table after the other with so many rows that are over, and as many that are not, and runs beat's task of it
once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.servers import Postgres, create_database

#: How each table is filled: rows that are over, and rows that are not.
FILL = {
    "django_session": """
        INSERT INTO django_session SELECT md5(i::text), repeat('x', 200), now() - interval '1 day' * (CASE
        WHEN i > %(rows)s THEN -7 ELSE 1 + i %% 9 END) FROM generate_series(1, 2 * %(rows)s) i""",
    "knox_authtoken": """
        INSERT INTO knox_authtoken (digest, token_key, user_id, created, expiry) SELECT md5(i::text) || md5(i::text ||
        'b'), left(md5(i::text), 15), %(first)s + i %% 100000, now(), now() - interval '1 day' * (CASE WHEN i > %(rows)s
        THEN -7 ELSE 1 + i %% 9 END) FROM generate_series(1, 2 * %(rows)s) i""",
    "notifications_ticket": """
        INSERT INTO notifications_ticket (digest, user_id, issuer, key, issued_at, expires_at) SELECT md5(i::text) ||
        md5(i::text || 'b'), %(first)s + i %% 100000, '', '', now(), now() - interval '1 hour' * (CASE WHEN i > %(rows)s
        THEN -1 ELSE 1 + i %% 9 END) FROM generate_series(1, 2 * %(rows)s) i""",
    "notifications_revocation": """
        INSERT INTO notifications_revocation (user_id, key, at) SELECT i %% 100000, '', now() - interval '1 day' * (CASE
        WHEN i > %(rows)s THEN 0 ELSE 2 + i %% 9 END) FROM generate_series(1, 2 * %(rows)s) i""",
    "api_idempotencykey": """
        INSERT INTO api_idempotencykey (user_id, key, fingerprint, status, headers, body, created_at) SELECT %(first)s,
        i, repeat('f', 64), 200, '{}', repeat('b', 800), now() - interval '1 day' * (CASE WHEN i > %(rows)s THEN 0 ELSE
        2 + i %% 9 END) FROM generate_series(1, 2 * %(rows)s) i""",
    "notifications_notification": """
        INSERT INTO notifications_notification (stream_id, seq, kind, at, frame, tx) SELECT %(first)s + i %% 100000,
        1 + i / 100000, 'order.updated', now() - interval '40 days' + interval '1 ms' * i + interval '1 day' * (CASE
        WHEN i > %(rows)s THEN 30 ELSE 0 END), repeat('f', 800), 1 FROM generate_series(1, 2 * %(rows)s) i""",
}

PEOPLE = """
    INSERT INTO auth_user (username, password, is_superuser, first_name, last_name, email, is_staff, is_active,
    date_joined) SELECT 'b' || i, '', false, '', '', '', false, true, now() FROM generate_series(0, 99999) i;
    INSERT INTO notifications_stream (user_id, uid, head, read_up_to, trimmed_up_to) SELECT id, left(md5(username), 12),
    100000, 0, 0 FROM auth_user WHERE username LIKE 'b%%'"""


def main(arguments: Sequence[str]) -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000, help="rows of each table that are over")
    parser.add_argument("--tables", nargs="+", choices=FILL, default=list(FILL))
    options = parser.parse_args(arguments)
    with Postgres() as postgres:
        env = {**os.environ, "DEBUG": "1", "DATABASE_URL": create_database(postgres.url), "LOG_LEVEL": "error"}
        for words in (
            ["manage.py", "migrate", "--verbosity", "0"],
            ["-m", "benchmarks.retention", str(options.rows), *options.tables],
        ):
            subprocess.run([sys.executable, *words], env=env | {"RETENTION_PART": "tasks"}, check=True)  # noqa: S603


def measure(rows: int, tables: Sequence[str]) -> None:
    """In a process that has Django: fill, run each task, say how long it took."""
    import django

    django.setup()
    from django.db import connection

    from api.tasks import delete_expired_idempotency_keys
    from notifications.tasks import clean_up, trim

    with connection.cursor() as cursor:
        cursor.execute(PEOPLE, {})
        cursor.execute("SELECT min(id) FROM auth_user WHERE username LIKE 'b%%'", {})
        [first] = cursor.fetchone()
        tasks = {
            "notifications_notification": trim,
            "api_idempotencykey": delete_expired_idempotency_keys,
        }
        for table in tables:
            cursor.execute(FILL[table], {"rows": rows, "first": first})
            cursor.execute(f"ANALYZE {table}")
            began = time.monotonic()
            deleted = tasks.get(table, clean_up)()
            took = time.monotonic() - began
            sys.stdout.write(f"{table:30} {deleted:9,} of {rows:,} rows in {took:5.1f} s\n")
            sys.stdout.flush()
            cursor.execute(f"TRUNCATE {table} CASCADE")


if __name__ == "__main__":
    if os.environ.get("RETENTION_PART"):
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        measure(int(sys.argv[1]), sys.argv[2:])
    else:
        main(sys.argv[1:])
