"""``python -m tests.scale``: many accounts in one sender, and what they cost it.

Exit code 1 if a receiver was ever without a valid token, or a login was lost.
"""

from __future__ import annotations

import argparse
import sys

from .run import Load, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    parser.add_argument("--accounts", type=int, nargs="+", default=[1, 10, 1000])
    parser.add_argument("--programs", type=int, default=3, help="each with every account")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--life", type=int, default=120, help="of a token, in seconds")
    parser.add_argument("--timeout", type=float, default=8.0, help="of a request, in seconds")
    parser.add_argument("--fail", type=float, default=0.05, help="share of requests that fail")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--expired", action="store_true", help="all tokens are, at the start")
    options = vars(parser.parse_args())
    sound = True
    for accounts in options.pop("accounts"):
        outcome = run(Load(accounts, **options))
        print(outcome, flush=True)
        sound &= outcome.sound
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
