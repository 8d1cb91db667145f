"""Limits that the sender puts on its own process."""

from __future__ import annotations

import resource

from tokenrelay.sender.libc import check, libc

_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """Keep secrets out of core files and from other processes' ptrace(2); see prctl(2)."""
    check(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
