"""What the OpenAPI document says of the API as a whole; `settings` hands it to drf-spectacular.

The operations describe themselves in `api`; what follows from their shape is added by the hooks named here.
"""

from __future__ import annotations

from typing import Any

SETTINGS: dict[str, Any] = {
    "TITLE": "Orderwire",
    "DESCRIPTION": "Orders in, notifications out. Times are RFC 3339 in UTC, errors are problems (RFC 9457).",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "LICENSE": {"name": "MIT", "identifier": "MIT"},
    "CONTACT": {"name": "Who runs this service"},
    # Relative to the document's own address: whoever serves the document serves the API.
    "SERVERS": [{"url": "/", "description": "The host that this document comes from."}],
    "TAGS": [
        {"name": "orders", "description": "What a shop's systems create, change and read."},
        {"name": "snapshot", "description": "What a page that follows a stream begins with."},
        {"name": "notifications", "description": "A customer's own stream: what changed, numbered without gaps."},
        {"name": "tickets", "description": "How a page on another site gets at its customer's stream."},
        {"name": "tokens", "description": "The caller's own credentials."},
    ],
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    # What is sent and what is given are described apart.
    "COMPONENT_SPLIT_REQUEST": True,
    # Docstrings are for those who read the code. What callers are told stands in `extend_schema` and `help_text`.
    "DISABLE_DOCSTRING_DESCRIPTIONS": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {"Status": "orders.lifecycle.Status"},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "api.openapi.describe_nulls",
        "api.openapi.describe_stream",
        "api.openapi.describe_answers",
        "api.openapi.describe_bodies",
    ],
}
