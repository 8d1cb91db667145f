"""Routes of the test provider: the toolkit's own under /o/, a protected resource, and a report."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from edge import COUNTERS
from oauth2_provider.models import RefreshToken
from oauth2_provider.oauth2_backends import get_oauthlib_core


def resource(request: HttpRequest) -> HttpResponse:
    valid, _ = get_oauthlib_core().verify_request(request, scopes=["read"])
    return JsonResponse({"valid": valid}, status=200 if valid else 401)


def report(request: HttpRequest) -> HttpResponse:
    """Say what was asked for, and whether reuse of a refresh token has revoked a whole family."""
    families = set(RefreshToken.objects.values_list("token_family", flat=True))
    live = RefreshToken.objects.filter(revoked__isnull=True)
    live_families = set(live.values_list("token_family", flat=True))
    return JsonResponse(
        {
            **COUNTERS.snapshot(),
            "reuse_flagged": families != live_families,
            "refresh_tokens": RefreshToken.objects.count(),
        }
    )


urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("resource/", resource),
    path("report/", report),
]
