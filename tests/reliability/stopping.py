"""SIGKILL between two system calls: right behind the n-th call of a kind, before the next
instruction of the thread. strace can only kill before a call, so this is ptrace(2) itself."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import threading
from dataclasses import dataclass, field

SEIZE, INTERRUPT, NEXT_SYSCALL, SYSCALL_INFO = 0x4206, 0x4207, 24, 0x420E
MARK_SYSCALLS = 1  # PTRACE_O_TRACESYSGOOD
SYSCALL_STOP = signal.SIGTRAP | 0x80
ANY_THREAD = 0x40000000  # __WALL
ENTRY = 1
INFO_BYTES = 88  # sizeof(struct ptrace_syscall_info)

_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_ptrace.restype = ctypes.c_long


@dataclass(slots=True)
class KillBehind:
    """Traces ``thread`` of process ``pid`` from its own thread; `start` returns once attached."""

    pid: int
    thread: int
    call: int
    number: int
    _attached: threading.Event = field(default_factory=threading.Event)
    _tracer: threading.Thread | None = None

    def start(self) -> None:
        self._tracer = threading.Thread(target=self._trace)
        self._tracer.start()
        self._attached.wait()

    def join(self) -> None:
        assert self._tracer is not None
        self._tracer.join()

    def _trace(self) -> None:
        try:
            self._request(SEIZE, MARK_SYSCALLS)
            self._request(INTERRUPT, 0)
            os.waitpid(self.thread, ANY_THREAD)
        finally:
            self._attached.set()
        seen = 0
        while seen < self.number:
            if not self._next_stop():
                return
            seen += self._entered() == self.call
        self._next_stop()
        os.kill(self.pid, signal.SIGKILL)

    def _next_stop(self) -> bool:
        """Lets it run to the next entry or exit of a call; False once the thread is gone."""
        delivered = 0
        while True:
            try:
                self._request(NEXT_SYSCALL, delivered)
                _, status = os.waitpid(self.thread, ANY_THREAD)
            except (ProcessLookupError, ChildProcessError):
                return False
            if not os.WIFSTOPPED(status):
                return False
            if os.WSTOPSIG(status) == SYSCALL_STOP:
                return True
            delivered = 0 if status >> 16 else os.WSTOPSIG(status)

    def _entered(self) -> int | None:
        """The number of the call that the thread is about to make; None at the end of one."""
        info = ctypes.create_string_buffer(INFO_BYTES)
        self._request(SYSCALL_INFO, INFO_BYTES, ctypes.addressof(info))
        operation, call = struct.unpack_from("B23xQ", info.raw)
        return int(call) if operation == ENTRY else None

    def _request(self, request: int, data: int, address: int = 0) -> None:
        first, second = (data, address) if request == SYSCALL_INFO else (address, data)
        if _ptrace(request, self.thread, first, second) == -1:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
