"""Django settings of the test provider, as a function of what a test chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def build(*, database: Path, access_token_seconds: int, grace_seconds: int) -> dict[str, Any]:
    return {
        "DEBUG": False,
        "ALLOWED_HOSTS": ["127.0.0.1"],
        "SECRET_KEY": "only-for-tests-on-loopback",
        "ROOT_URLCONF": "urls",
        "USE_TZ": True,
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "INSTALLED_APPS": [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "oauth2_provider",
        ],
        "MIDDLEWARE": [
            "edge.Edge",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        "DATABASES": {"default": _sqlite(database)},
        "OAUTH2_PROVIDER": {
            "ACCESS_TOKEN_EXPIRE_SECONDS": access_token_seconds,
            "ROTATE_REFRESH_TOKEN": True,
            "REFRESH_TOKEN_REUSE_PROTECTION": True,
            "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": grace_seconds,
            "SCOPES": {"read": "Read everything"},
        },
        # Requests at /o/token/ that are refused on purpose would fill the log of every test.
        "LOGGING": {"version": 1, "root": {"level": "ERROR"}},
    }


def _sqlite(database: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(database),
        "OPTIONS": {
            # A transaction that begins as a reader cannot become a writer beside another one.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
        },
    }
