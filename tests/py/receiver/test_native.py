"""`on_native`: a C function called on the native thread, without the interpreter."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from receiver_support import PATIENCE, deliver

from tokenrelay import TokenReceiver

SOURCE = Path(__file__).with_name("native.c")
PYTHON_CALLBACK = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, ctypes.c_uint64, ctypes.c_void_p
)


@pytest.fixture(scope="module")
def library_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("native") / "native.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path, SOURCE, "-pthread"], check=True)
    return path


@pytest.fixture
def library(library_path: Path) -> Any:
    """The C functions, called with the GIL held."""
    library = ctypes.PyDLL(str(library_path))
    library.generation.restype = ctypes.c_uint64
    library.authorization.restype = ctypes.c_char_p
    library.context.restype = ctypes.c_void_p
    return library


def capsule(function: Any, name: bytes, context: int = 0) -> object:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    made = new(ctypes.cast(function, ctypes.c_void_p), name, None)
    set_context = ctypes.pythonapi.PyCapsule_SetContext
    set_context.argtypes = [ctypes.py_object, ctypes.c_void_p]
    set_context(made, context)
    return made


def test_a_ctypes_function_is_called_before_the_sender_is_answered(library: Any) -> None:
    with TokenReceiver("main", on_native=library.on_token) as receiver:
        assert deliver(receiver, "abc") == {"ok": True, "generation": 1}
        library.await_calls(1)
        assert library.generation() == 1
        assert library.authorization() == b"Bearer abc"


CAPSULE_NAME = b"tokenrelay.native_callback"


def test_a_capsule_brings_its_context(library: Any) -> None:
    callback = capsule(library.on_token, CAPSULE_NAME, context=0x1234)
    with TokenReceiver("main", on_native=callback) as receiver:
        deliver(receiver, "abc")
        library.await_calls(1)
        assert library.context() == 0x1234


def test_it_runs_while_another_call_holds_the_interpreter(library: Any) -> None:
    code = (
        "import sys, receiver_support as s; sys.stdin.read(1)\n"
        "for number in range(5): s.deliver(sys.argv[1], f'token-{number}')"
    )
    with TokenReceiver("main", on_native=library.on_token) as receiver:
        sender = subprocess.Popen(
            [sys.executable, "-c", code, receiver.path],
            stdin=subprocess.PIPE,
            env={"PYTHONPATH": str(Path(__file__).parent) + ":" + ":".join(sys.path)},
        )
        assert sender.stdin is not None
        with sender, sender.stdin as start:
            start.write(b"x")
            start.flush()
            library.await_calls(5)  # with the GIL
            assert library.generation() == 5
    token = receiver.token
    assert token is not None
    assert token.access_token == "token-4"


@pytest.mark.parametrize(
    "callback", ["null", "address", "wrong_name", "not_callable"], ids=lambda name: f"with_{name}"
)
def test_what_is_no_native_callback_is_refused(library: Any, callback: str) -> None:
    values = {
        "null": ctypes.CFUNCTYPE(None)(),
        "address": ctypes.c_void_p(5),
        "wrong_name": capsule(library.on_token, b"other"),
        "not_callable": object(),
    }
    with pytest.raises((ValueError, TypeError)):
        TokenReceiver("main", on_native=values[callback])


def test_a_python_function_behind_ctypes_does_not_deadlock() -> None:
    """Not what it is for, but each wait for it must leave the interpreter."""
    calls = threading.Semaphore(0)
    callback = PYTHON_CALLBACK(lambda *_: calls.release())
    receiver = TokenReceiver("main", on_native=callback).start()
    path = receiver.path
    sender = threading.Thread(target=lambda: [deliver(path, f"token-{n}") for n in range(50)])
    sender.start()
    while sender.is_alive():
        receiver._subscribe_fd(1 << 20).cancel()  # a descriptor that nobody has
        receiver.subscribe(lambda _: None).cancel()
    for _ in range(50):
        assert calls.acquire(timeout=PATIENCE)
    del receiver, callback
    gc.collect()


def test_the_function_outlives_the_callers_reference() -> None:
    called = threading.Event()
    receiver = TokenReceiver("main", on_native=PYTHON_CALLBACK(lambda *_: called.set()))
    gc.collect()
    with receiver:
        deliver(receiver, "abc")
        assert called.wait(PATIENCE)
