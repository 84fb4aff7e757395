"""The API's page: a developer tries a call from it, under the same Content-Security-Policy as every page."""

import re
from collections.abc import Callable
from typing import Any

from tests.deployment import Deployment, Web


async def test_a_developer_tries_a_call_from_the_page(new_page: Callable[..., Any], deployment: Deployment, web: Web):
    page = await new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda sent: asked.append(sent.url))
    await page.goto("/api/v1/docs")
    await page.get_by_role("button", name="Authorize").click()
    scheme = page.locator(".auth-container form").filter(has_text=re.compile(r"^token\b"))
    await scheme.get_by_role("textbox").fill(deployment.token("staff"))
    await scheme.get_by_role("button", name="Apply credentials").click()
    await page.get_by_role("button", name="Close").first.click()
    operation = page.locator("#operations-orders-get_order")
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_placeholder("number").fill("SO-1001")
    await operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table")
    await answer.get_by_text("200", exact=True).first.wait_for()
    assert '"customer": "alice"' in await answer.inner_text()
    assert complaints == []
    assert [url for url in asked if not url.startswith((web.url, "data:"))] == []
