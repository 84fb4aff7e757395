"""Rights that are taken away by SQL while two web processes answer requests: neither lets them count for long."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg

from notifications.access.memory import SECONDS
from tests.database import on_postgres
from tests.deployment import Deployment, Web
from tests.polling import PATIENCE, poll

#: What takes from the user of that number what they may, behind Django's back.
WAYS = {
    "token": "DELETE FROM knox_authtoken WHERE user_id = %s",
    "account": "UPDATE auth_user SET is_active = false WHERE id = %s",
    "rank": "UPDATE auth_user SET is_superuser = false WHERE id = %s",
    "permission": "DELETE FROM auth_user_user_permissions WHERE user_id = %s",
    "membership": "DELETE FROM auth_user_groups WHERE user_id = %s",
}
#: Somebody for each way, who may see every order; printed with their numbers and tokens.
PEOPLE = """
import json
from django.contrib.auth.models import Group, Permission, User
from knox.models import AuthToken
found, view = {}, Permission.objects.get(codename="view_order")
group = Group.objects.create(name="taken-away")
group.permissions.add(view)
for way in WAYS:
    user = User.objects.create_user("taken-away-" + way, is_superuser=way == "rank")
    if way == "membership":
        user.groups.add(group)
    elif way != "rank":
        user.user_permissions.add(view)
    found[way] = user.pk, AuthToken.objects.create(user)[1]
print(json.dumps(found))
"""


@on_postgres
def test_what_sql_takes_away_is_refused_by_every_process_within_a_second(web: Web, deployment: Deployment) -> None:
    people = json.loads(deployment.manage("shell", "--no-imports", "-c", PEOPLE.replace("in WAYS", f"in {list(WAYS)}")))
    webs = [web, deployment.web()]
    begun: Counter[tuple[str, str]] = Counter()
    #: Of each caller and process, when the last request began that was let in.
    let_in: dict[tuple[str, str], float] = {}
    taken_at: list[float] = []
    taking, ended = threading.Event(), threading.Event()

    def call(server: Web, way: str) -> None:
        """Ask, again and again, until the first refusal after the right was taken away."""
        with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {people[way][1]}"}) as client:
            while not ended.is_set():
                began_at = time.monotonic()
                status = client.get("/api/v1/orders/SO-1001", timeout=PATIENCE).status_code
                if status != 200:
                    assert taking.is_set(), f"{way}: {status} before anything was taken away"
                    assert status in (401, 404)
                    return
                let_in[server.url, way] = began_at
                begun[server.url, way] += 1

    with ThreadPoolExecutor(len(webs) * len(WAYS)) as callers:
        calls = [callers.submit(call, server, way) for server in webs for way in WAYS]
        try:
            poll(lambda: len(begun) == len(calls) and min(begun.values()) > 1)
            with psycopg.connect(deployment.database_url) as shop:
                for way, statement in WAYS.items():
                    shop.execute(statement, [people[way][0]])
                taking.set()
                shop.commit()
                taken_at.append(time.monotonic())
            poll(lambda: all(each.done() for each in calls))
        finally:
            ended.set()
    for each in calls:
        each.result()
    assert max(let_in.values()) < taken_at[0] + SECONDS
