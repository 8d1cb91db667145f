"""django-oauth-toolkit as an HTTP server on loopback, for one test.

Prints one JSON line with its address and one user's credentials once it accepts connections. The
lines `hold` and `release` on its standard input stop and free its answers to refreshes; it ends
when that input is closed, so that no test can leave it behind.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import threading
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
import settings as provider_settings
from django.conf import settings
from edge import GATE


def main() -> None:
    options = _parse_arguments()
    settings.configure(**provider_settings.build(**vars(options)))
    django.setup()
    _create_tables()
    credentials = _create_login(options.access_token_seconds)
    server = _start_server()
    print(json.dumps({"port": server.server_port, **credentials}), flush=True)
    for order in sys.stdin:
        GATE.obey(order.strip())
    server.shutdown()


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--access-token-seconds", type=int, required=True)
    parser.add_argument("--grace-seconds", type=int, required=True)
    return parser.parse_args()


def _create_tables() -> None:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def _create_login(access_token_seconds: int) -> dict[str, Any]:
    """Store a user, a confidential application and the token pair a login would have given."""
    from django.contrib.auth.models import User
    from django.utils import timezone
    from oauth2_provider.models import AccessToken, Application, RefreshToken

    client_secret = secrets.token_urlsafe(32)
    user = User.objects.create(username="trader")
    application = Application.objects.create(
        user=user,
        client_secret=client_secret,
        # One password hash a refresh would cost more than everything else the tests do.
        hash_client_secret=False,
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris="https://127.0.0.1/callback",
    )
    access_token = AccessToken.objects.create(
        user=user,
        application=application,
        token=secrets.token_urlsafe(32),
        expires=timezone.now() + timedelta(seconds=access_token_seconds),
        scope="read",
    )
    refresh_token = RefreshToken.objects.create(
        user=user,
        application=application,
        token=secrets.token_urlsafe(32),
        access_token=access_token,
        # Without a family the toolkit cannot flag the reuse of this first token.
        token_family=uuid.uuid4(),
    )
    return {
        "client_id": application.client_id,
        "client_secret": client_secret,
        "access_token": access_token.token,
        "refresh_token": refresh_token.token,
        "expires_at": int(access_token.expires.timestamp()),
    }


def _start_server() -> Any:
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application

    class PromptHandler(WSGIRequestHandler):
        # Head and body are two writes; together with a delayed ACK, Nagle's rule costs 40 ms.
        disable_nagle_algorithm = True

    server = ThreadedWSGIServer(("127.0.0.1", 0), PromptHandler)
    server.set_app(get_wsgi_application())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    main()
