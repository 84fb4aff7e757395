"""What an orchestrator asks: by address, without a name it knows, and before it sends anybody here."""

from __future__ import annotations

import httpx
import pytest

from tests.deployment import Deployment, Web
from tests.polling import poll


@pytest.mark.parametrize("probe", ["/healthz", "/readyz"])
def test_probes_are_answered_whatever_the_host_header_says(web: Web, probe: str) -> None:
    assert httpx.get(web.url + probe, headers={"Host": "10.0.0.7:8000"}).status_code == 200
    assert httpx.get(web.url + "/login", headers={"Host": "10.0.0.7:8000"}).status_code == 400


def test_probes_are_not_redirected_to_https(deploy: type) -> None:
    deployment: Deployment = deploy(HTTPS_ONLY="1")
    web = deployment.web()
    assert httpx.get(web.url + "/readyz").status_code == 200
    assert httpx.get(web.url + "/login").status_code == 301


def test_readiness_fails_while_sockets_are_told_good_bye(deploy: type) -> None:
    deployment: Deployment = deploy(DRAIN_SECONDS="20")
    web = deployment.web()
    # The one client's good-bye comes at the end of the drain.
    with httpx.stream(
        "GET", f"{web.url}/api/v1/stream", headers={"Authorization": f"Bearer {deployment.token('alice')}"}
    ) as answer:
        assert answer.status_code == 200
        web.terminate()
        poll(lambda: httpx.get(web.url + "/readyz").status_code == 503)
