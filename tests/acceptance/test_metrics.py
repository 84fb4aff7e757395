"""`/metrics` adds up what all workers have counted, and tells it to nobody without the token."""

import os
import re
from pathlib import Path

import httpx

from tests.conftest import Deploy
from tests.polling import apoll
from tests.sockets import frame, socket

SECRET = {"Authorization": "Bearer a-secret"}


def sample(text: str, name: str) -> float:
    """The value of the line that begins so; 0 where there is none."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, flags=re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_all_workers_are_counted_together_and_a_dead_one_has_no_sockets(deploy: Deploy, tmp_path: Path):
    deployment = deploy(METRICS_TOKEN="a-secret", WEB_CONCURRENCY="2", TMPDIR=str(tmp_path))
    web = deployment.web()
    route = "order-list"
    answered = f'orderwire_http_requests_total{{method="GET",route="{route}",status="200"}}'
    token = deployment.token("alice")
    async with httpx.AsyncClient(base_url=web.url) as http:

        async def value(name: str) -> float:
            return sample((await http.get("/metrics", headers=SECRET)).text, name)

        for _ in range(20):  # A connection each, so that both workers get some.
            async with httpx.AsyncClient(base_url=web.url) as once:
                answer = await once.get("/api/v1/orders", headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == 200
        assert await value(answered) == 20
        assert await value(f'orderwire_http_request_seconds_count{{route="{route}"}}') == 20
        async with socket(web, token) as following:
            await frame(following, "welcome")
            await apoll(lambda: _sockets(http, 1), saying="the socket to be counted")
            for pid in web.worker_pids():
                web.kill_worker(pid)
            await apoll(lambda: _sockets(http, 0), saying="the sockets of dead workers to be forgotten")
        assert await value(answered) == 20
    web.stop()
    assert not any("metrics" in name for name in os.listdir(tmp_path))  # noqa: PTH208 -- ASYNC240 has it so


async def _sockets(http: httpx.AsyncClient, expected: int) -> bool:
    try:
        answer = await http.get("/metrics", headers=SECRET)
    except httpx.TransportError:  # no worker just now
        return False
    return sample(answer.text, "orderwire_sockets") == expected


def test_nobody_reads_the_metrics_without_the_token(deploy: Deploy):
    web = deploy(METRICS_TOKEN="a-secret", DEBUG="0").web()
    for headers in (
        {},
        {"Authorization": "Bearer another"},
        {"Authorization": "a-secret"},
    ):
        assert httpx.get(f"{web.url}/metrics", headers=headers).status_code == 403
    answer = httpx.get(f"{web.url}/metrics", headers=SECRET | {"Host": "10.0.0.7"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert "SO-1001" not in answer.text
