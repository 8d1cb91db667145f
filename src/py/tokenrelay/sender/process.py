"""Limits that the sender puts on its own process."""

from __future__ import annotations

import resource

from tokenrelay.sender.libc import check, libc

_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """Keep secrets out of core files and from other processes' ptrace(2); see prctl(2)."""
    check(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allow_all_descriptors() -> None:
    """Use the hard limit of open files: the soft one, often 1024, is for users of select(2)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
