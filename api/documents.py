"""What the API says of itself, to everybody: the OpenAPI document, the page made of it, and the socket's AsyncAPI.

They tell how to ask, and nothing that anybody has asked for.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from django.views.generic import TemplateView
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

ASYNCAPI = Path(settings.BASE_DIR) / "docs" / "asyncapi.yaml"


@cache
def openapi() -> dict[str, Any]:
    """The document, made once for each process: making it takes as long as answering fifty requests."""
    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return document


class SchemaView(APIView):
    """`/api/v1/schema`: OpenAPI 3.1, as JSON or, by `Accept`, as YAML."""

    authentication_classes = []
    permission_classes = [AllowAny]
    renderer_classes = [OpenApiJsonRenderer, OpenApiYamlRenderer, JSONRenderer]

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        return Response(openapi())


@method_decorator(csrf_exempt, name="dispatch")  # only reads; other methods are 405 and not 403
class DocsPage(TemplateView):
    """`/api/v1/docs`: Swagger UI, from our own static files, under the same Content-Security-Policy as every page."""

    template_name = "api/docs.html"
    http_method_names = ["get", "head", "options"]


@csrf_exempt
@require_safe
def asyncapi(_request: HttpRequest) -> HttpResponse:
    """`/asyncapi.yaml`: the frames of the socket."""
    return HttpResponse(ASYNCAPI.read_bytes(), content_type="application/yaml")
