"""The command ``tokenrelay``; says what to install where the sender half is missing."""

from __future__ import annotations

import sys

SENDER_LIBRARIES = frozenset({"anyio", "authlib", "msgspec", "rich", "structlog", "typer"})


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        from tokenrelay.cli.app import run

        return run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in SENDER_LIBRARIES:
            raise
        print(
            "tokenrelay: the command needs the extra 'sender': pip install 'tokenrelay[sender]'",
            file=sys.stderr,
        )
        return 2


if __name__ == "__main__":
    sys.exit(main())
