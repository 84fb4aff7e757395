"""What a client asks of an address before it asks for anything on it: in which type, and by which methods.

REST framework calls these classes for every view; `settings` names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

#: A client that wants its errors as problems says so, and some clients say nothing else.
PROBLEM = re.compile(r"\s*application/problem\+json(?=\s*(?:;|\Z))", re.IGNORECASE)
#: What nearly every caller sends; None for those that send nothing.
USUAL = frozenset({None, "*/*", "application/json"})


class Negotiation(DefaultContentNegotiation):
    """Takes `Accept: application/problem+json` for JSON: which of both an answer is depends on how it went.

    REST framework takes any `Accept` apart for each request; the usual ones have a short way.
    """

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        if first.media_type == "application/json" and request.META.get("HTTP_ACCEPT") in USUAL:
            return first, first.media_type
        found: tuple[BaseRenderer, str] = super().select_renderer(request, renderers, format_suffix)
        return found

    def get_accept_list(self, request: Request) -> list[str]:
        return [PROBLEM.sub("application/json", accepted) for accepted in super().get_accept_list(request)]


class AllowedMethods(BaseMetadata):
    """OPTIONS is answered by `Allow` (RFC 9110, 9.3.7), which REST framework sets, and by nothing else."""

    def determine_metadata(self, request: Request, view: Any) -> None:
        """No content: the OpenAPI document describes what there is."""
