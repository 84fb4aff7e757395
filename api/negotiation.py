"""What a client asks of an address before it asks for anything on it: in which type, and by which methods.

REST framework calls these classes for every view; `settings` names them.
"""

from __future__ import annotations

import re
from typing import Any

from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

#: A client that wants its errors as problems says so, and some clients say nothing else.
PROBLEM = re.compile(r"\s*application/problem\+json(?=\s*(?:;|\Z))", re.IGNORECASE)


class Negotiation(DefaultContentNegotiation):
    """Takes `Accept: application/problem+json` for JSON: which of both an answer is depends on how it went."""

    def get_accept_list(self, request: Request) -> list[str]:
        return [PROBLEM.sub("application/json", accepted) for accepted in super().get_accept_list(request)]


class AllowedMethods(BaseMetadata):
    """OPTIONS is answered by `Allow` (RFC 9110, 9.3.7), which REST framework sets, and by nothing else."""

    def determine_metadata(self, request: Request, view: Any) -> None:
        """No content: the OpenAPI document describes what there is."""
