"""The command line all peers share."""

from __future__ import annotations

import argparse
from pathlib import Path


def parse(description: str, *modes: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--ack", type=int, default=-1, help="acknowledgement pipe, a descriptor")
    parser.add_argument("--library", help="shared object with the native callback")
    parser.add_argument("--busy", action="store_true", help="the main thread runs bytecode")
    if modes:
        parser.add_argument("mode", choices=modes)
    return parser.parse_args()
