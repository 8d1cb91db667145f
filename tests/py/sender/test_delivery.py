from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import struct
import sys
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import structlog
from anyio.from_thread import BlockingPortal, start_blocking_portal
from sender_support import FakeClock
from structlog.testing import LogCapture

from support.listener import Listener, accept, ignore, line, socket_name
from support.programs import SUPPORT, boot_ns
from tokenrelay import TokenReceiver
from tokenrelay.cli.send import deliver
from tokenrelay.sender import wire
from tokenrelay.sender.clock import SystemClock
from tokenrelay.sender.delivery import Delivery, ReceiverState, open_watch
from tokenrelay.sender.inotify import DirectoryWatch
from tokenrelay.sender.tokens import MAXIMUM_SERIAL, TokenSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from anyio.abc import TaskStatus

    from support.host import Host

LISTENER = (sys.executable, SUPPORT / "listener.py")
NOBODY = 65534


def token(number: int, *, expires_at: int = 4_102_444_800) -> TokenSet:
    return TokenSet(f"access-{number}", expires_at, serial=number)


class Sender:
    """A delivery that runs on an event loop of its own."""

    def __init__(
        self, portal: BlockingPortal, runtime: Path, *, watched: bool = True, **options: Any
    ) -> None:
        self.portal = portal
        self.directory = runtime / "main"
        self.requests: Queue[int] = Queue()
        self.raised: Queue[int] = Queue()
        defaults: dict[str, Any] = {
            "runtime_directories": (runtime,),
            "fixed_paths": (),
            "include_refresh_token": False,
            "allow_uids": (),
            "on_refresh_request": self.requests.put,
            "raise_serial": self.raised.put,
            "watch": portal.call(DirectoryWatch) if watched else None,
            "clock": SystemClock(),
            "log": structlog.get_logger(),
        }
        self.watch: DirectoryWatch | None = defaults["watch"]
        self.delivery: Delivery = portal.call(lambda: Delivery("main", **{**defaults, **options}))
        self.task: Future[None]
        self.task, _ = portal.start_task(self._run)

    async def _run(self, *, task_status: TaskStatus[None]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.delivery.run, task_status.started)
            if self.watch is not None:
                with self.watch:
                    await self.watch.run()

    def publish(self, new: TokenSet) -> None:
        self.portal.call(self.delivery.publish, new)

    def settle(self, timeout: float = 10) -> dict[str, ReceiverState]:
        states = self.portal.call(self.delivery.settle, timeout)
        return {state.path: state for state in states}

    def wait_for(
        self, condition: Callable[[tuple[ReceiverState, ...]], bool], timeout: float = 10
    ) -> tuple[ReceiverState, ...]:
        """Wait until the receivers' states satisfy the condition."""

        async def wait() -> tuple[ReceiverState, ...]:
            with anyio.fail_after(timeout):
                while not condition(self.delivery.receivers):
                    await self.delivery._changed.wait()
            return self.delivery.receivers

        return self.portal.call(wait)


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def runtime(short_path: Path) -> Path:
    path = short_path / "run"
    (path / "main").mkdir(mode=0o700, parents=True)
    path.chmod(0o700)
    return path


@contextmanager
def sending(portal: BlockingPortal, runtime: Path, **options: Any) -> Iterator[Sender]:
    sender = Sender(portal, runtime, **options)
    try:
        yield sender
    finally:
        sender.task.cancel()


def test_a_receiver_that_is_there_gets_the_token_and_its_answer_is_kept(
    portal: BlockingPortal, runtime: Path
) -> None:
    with (
        Listener(runtime / "main" / socket_name("trader")) as listener,
        sending(portal, runtime) as sender,
    ):
        sender.publish(token(1).replace(refresh_token="never-sent", scope="api"))
        frame = listener.next_frame()
        state = sender.settle()[str(listener.path)]
    assert frame["access_token"] == "access-1"
    assert frame["account"] == "main"
    assert "refresh_token" not in frame
    assert (state.pid, state.program, state.connected) == (os.getpid(), "trader", True)
    assert (state.generation, state.serial, state.error) == (1, 1, None)
    assert state.latency is not None
    assert 0 < state.latency < 5
    assert state.delivered_at is not None


def test_the_refresh_token_is_sent_only_where_asked(portal: BlockingPortal, runtime: Path) -> None:
    with (
        Listener(runtime / "main" / socket_name()) as listener,
        sending(portal, runtime, include_refresh_token=True) as sender,
    ):
        sender.publish(token(1).replace(refresh_token="wanted"))
        assert listener.next_frame()["refresh_token"] == "wanted"


def test_a_receiver_that_starts_later_gets_the_current_token_at_once(
    portal: BlockingPortal, runtime: Path
) -> None:
    with sending(portal, runtime) as sender:
        sender.publish(token(1))
        before = boot_ns()
        with Listener(runtime / "main" / socket_name()) as listener:
            frame = listener.next_frame()
            assert frame["arrived_ns"] - before < 100_000_000


def test_the_connection_stays_open_and_each_new_token_comes_through_it(
    portal: BlockingPortal, runtime: Path
) -> None:
    with (
        Listener(runtime / "main" / socket_name()) as listener,
        sending(portal, runtime) as sender,
    ):
        for number in range(1, 6):
            sender.publish(token(number))
            assert listener.next_frame()["serial"] == number
        assert listener.connections.qsize() == 1


def test_names_that_are_not_receivers_are_left_alone(portal: BlockingPortal, runtime: Path) -> None:
    directory = runtime / "main"
    (directory / "notes.txt").write_text("x")
    (directory / "file-1-a.sock").write_text("x")
    with (
        Listener(directory / "hidden.sock") as hidden,
        Listener(directory / socket_name()) as listener,
    ):
        hidden.path.rename(directory / ".hidden.sock")
        with sending(portal, runtime) as sender:
            sender.publish(token(1))
            states = sender.settle()
            assert states.keys() == {str(directory / "file-1-a.sock"), str(listener.path)}
            assert "not a socket" in str(states[str(directory / "file-1-a.sock")].error)
            assert hidden.connections.empty()


@pytest.mark.parametrize("missing", ["account", "runtime", "base"])
def test_directories_that_appear_later_are_watched(
    portal: BlockingPortal, short_path: Path, missing: str
) -> None:
    base = short_path / "base"
    runtime = base / "run"
    existing = {"account": runtime, "runtime": base, "base": short_path}[missing]
    existing.mkdir(mode=0o700, parents=True, exist_ok=True)
    with sending(portal, runtime) as sender:
        sender.publish(token(1))
        assert runtime.exists() == (missing != "base")
        for path in (base, runtime, runtime / "main"):
            path.mkdir(mode=0o700, exist_ok=True)
        with Listener(runtime / "main" / socket_name()) as listener:
            assert listener.next_frame(timeout=3)["serial"] == 1


def test_a_directory_that_was_removed_is_made_and_watched_again(
    portal: BlockingPortal, runtime: Path
) -> None:
    directory = runtime / "main"
    with sending(portal, runtime) as sender:
        sender.publish(token(1))
        with Listener(directory / socket_name()) as first:
            first.next_frame()
        sender.wait_for(lambda states: not states)
        directory.rmdir()
        directory.mkdir(mode=0o700, exist_ok=True)
        with Listener(directory / socket_name()) as second:
            assert second.next_frame(timeout=3)["serial"] == 1


def test_a_directory_open_to_others_is_not_used_until_it_is_closed(
    portal: BlockingPortal, runtime: Path
) -> None:
    directory = runtime / "main"
    directory.chmod(0o777)
    with (
        Listener(directory / socket_name()) as listener,
        sending(portal, runtime) as sender,
    ):
        sender.publish(token(1))
        assert sender.settle() == {}
        directory.chmod(0o700)
        with Listener(directory / socket_name()):
            assert listener.next_frame()["serial"] == 1


def test_every_runtime_directory_is_watched(portal: BlockingPortal, short_path: Path) -> None:
    runtimes = (short_path / "one", short_path / "two")
    with sending(portal, runtimes[0], runtime_directories=runtimes) as sender:
        sender.publish(token(1))
        for runtime in runtimes:
            with Listener(runtime / "main" / socket_name()) as listener:
                assert listener.next_frame()["serial"] == 1


def test_a_fixed_path_is_served_when_it_appears_and_again_after_a_restart(
    portal: BlockingPortal, runtime: Path, short_path: Path
) -> None:
    path = short_path / "fixed.sock"
    with sending(portal, runtime, fixed_paths=(path,)) as sender:
        sender.publish(token(1))
        absent = sender.settle()[str(path)]
        assert not absent.connected
        assert "no socket there" in str(absent.error)
        for _ in range(3):
            before = boot_ns()
            listener = Listener(path)
            assert listener.next_frame()["arrived_ns"] - before < 100_000_000
            listener.close()  # The file stays behind, as after kill -9.
            sender.wait_for(lambda states: not states[0].connected)
        assert path.exists(), "the sender never removes a socket at a fixed path"


def test_a_socket_that_takes_the_place_of_another_is_served(
    portal: BlockingPortal, runtime: Path
) -> None:
    path = runtime / "main" / socket_name()
    with sending(portal, runtime) as sender, Listener(path) as old:
        sender.publish(token(1))
        old.next_frame()
        with Listener(path) as new:
            assert new.next_frame(timeout=3)["serial"] == 1


def test_the_socket_of_a_program_that_is_gone_is_removed(
    portal: BlockingPortal, runtime: Path
) -> None:
    directory = runtime / "main"
    dead = Listener(directory / socket_name(pid=_dead_pid()))
    dead.close()
    reused = Listener(directory / socket_name(pid=os.getpid()))
    reused.close()
    with sending(portal, runtime) as sender:
        sender.wait_for(lambda states: not states)
        assert list(directory.iterdir()) == []


def test_a_program_that_takes_its_socket_away_is_no_trouble(
    portal: BlockingPortal, runtime: Path
) -> None:
    path = runtime / "main" / socket_name()
    with structlog.testing.capture_logs() as records, sending(portal, runtime) as sender:
        with Listener(path) as listener:
            sender.publish(token(1))
            listener.next_frame()
            sender.settle()
            path.unlink()
        sender.wait_for(lambda states: not states)
    assert "receiver disconnected" in [record["event"] for record in records]
    assert [record for record in records if record["log_level"] == "warning"] == []


def test_a_stopped_receiver_delays_nobody_and_then_has_the_newest(
    portal: BlockingPortal, host: Host, runtime: Path, start: Any
) -> None:
    program = start(*LISTENER, runtime / "main")
    program.wait_for_event("ready")
    with Listener(runtime / "main" / socket_name()) as listener, sending(portal, runtime) as sender:
        sender.publish(token(1))
        program.wait_for_event("frame", serial=1)
        sender.settle()
        os.kill(program.pid, signal.SIGSTOP)
        try:
            for number in range(2, 500):
                sender.publish(token(number))
            while listener.next_frame()["serial"] != 499:
                pass
            stopped = sender.settle()
            assert any("no answer for 2 s" in str(state.error) for state in stopped.values())
            assert all(state.connected for state in stopped.values())
        finally:
            os.kill(program.pid, signal.SIGCONT)
        program.wait_for_event("frame", serial=499)
        frames = [one.fields["serial"] for one in program.lines if one.fields.get("serial")]
        assert frames[:2] == [1, 2]
        assert len(frames) < 10, "one in flight every 2 s, one in the mailbox, no backlog"
        sender.wait_for(lambda states: all(state.error is None for state in states))


def test_a_receiver_whose_buffer_is_full_delays_nobody(
    portal: BlockingPortal, runtime: Path
) -> None:
    deaf = socket.socket(socket.AF_UNIX)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    deaf.bind(str(runtime / "main" / socket_name("deaf")))
    deaf.listen(0)
    big = token(1).replace(access_token="a" * 16_384, scope="s" * 40_000)
    with (
        deaf,
        Listener(runtime / "main" / socket_name()) as listener,
        sending(portal, runtime) as sender,
    ):
        for number in range(1, 20):
            sender.publish(big.replace(serial=number))
            while listener.next_frame()["serial"] != number:
                pass
        sender.wait_for(lambda states: any("no answer" in str(state.error) for state in states))


def test_a_listener_that_never_answers_still_gets_every_later_token(
    portal: BlockingPortal, runtime: Path
) -> None:
    with (
        Listener(runtime / "main" / socket_name(), ignore) as listener,
        sending(portal, runtime) as sender,
    ):
        sender.publish(token(1))
        listener.next_frame()
        sender.publish(token(2))
        assert listener.next_frame()["serial"] == 2
        assert listener.connections.qsize() == 1


def test_an_expired_token_is_never_sent(portal: BlockingPortal, runtime: Path) -> None:
    with (
        Listener(runtime / "main" / socket_name()) as listener,
        sending(portal, runtime) as sender,
    ):
        sender.publish(token(1, expires_at=1_700_000_000))
        state = sender.settle()[str(listener.path)]
        assert state.connected
        assert "expired" in str(state.error)
        sender.publish(token(2))
        assert listener.next_frame()["serial"] == 2
        assert sender.settle()[str(listener.path)].error is None


@pytest.mark.parametrize("code", ["stale", "conflict"])
def test_a_receiver_with_a_higher_serial_makes_the_sender_jump(
    portal: BlockingPortal, runtime: Path, code: str
) -> None:
    def refuse_up_to_50(frame: dict[str, Any]) -> bytes:
        if frame["serial"] <= 50:
            return line(ok=False, error=code, detail="older", serial=50)
        return accept(frame)

    with (
        Listener(runtime / "main" / socket_name(), refuse_up_to_50) as listener,
        sending(portal, runtime) as sender,
    ):
        sender.publish(token(7))
        assert sender.raised.get(timeout=10) == 50
        sender.publish(token(51))
        state = sender.settle()[str(listener.path)]
        assert (state.serial, state.error) == (51, None)
        assert sender.raised.empty()


def test_a_receiver_of_the_highest_serial_takes_no_other_with_it_and_can_be_mended(
    portal: BlockingPortal, runtime: Path
) -> None:
    path = runtime / "main" / socket_name()
    with TokenReceiver(path=path) as receiver, sending(portal, runtime) as sender:
        deliver(path, [wire.encode(token(MAXIMUM_SERIAL))], ())
        sender.publish(token(7))
        error = str(sender.settle()[str(path)].error)
        assert error.startswith("refused: stale")
        assert f"tokenrelay show main | tokenrelay send - --force --to {path}" in error
        assert sender.raised.empty()
        deliver(path, [wire.encode(token(7).replace(serial=0))], ())
        sender.publish(token(8))
        state = sender.settle()[str(path)]
        assert (state.serial, state.error) == (8, None)
        assert receiver.wait(timeout=10).access_token == "access-8"


@pytest.mark.parametrize("code", ["malformed", "unsupported", "invalid_token", "expired"])
def test_a_refused_token_is_not_sent_again_but_the_next_one_is(
    portal: BlockingPortal, runtime: Path, code: str
) -> None:
    with (
        Listener(
            runtime / "main" / socket_name(), lambda _: line(ok=False, error=code, detail="why")
        ) as listener,
        sending(portal, runtime) as sender,
    ):
        sender.publish(token(1))
        listener.next_frame()
        assert sender.settle()[str(listener.path)].error == f"refused: {code}: why"
        listener.answer = accept
        sender.publish(token(2))
        assert listener.next_frame()["serial"] == 2


def test_after_too_large_the_connection_is_made_again_without_that_token(
    portal: BlockingPortal, runtime: Path
) -> None:
    with (
        Listener(
            runtime / "main" / socket_name(), lambda _: line(ok=False, error="too_large")
        ) as listener,
        sending(portal, runtime) as sender,
    ):
        sender.publish(token(1))
        listener.next_frame()
        sender.settle()
        listener.answer = accept
        listener.connections.get(timeout=10).shutdown(socket.SHUT_RDWR)
        listener.connections.get(timeout=10)
        sender.publish(token(2))
        assert listener.next_frame()["serial"] == 2


@pytest.mark.parametrize("code", ["timeout", "busy"])
def test_after_a_passing_refusal_the_token_is_sent_again_on_a_new_connection(
    portal: BlockingPortal, runtime: Path, code: str
) -> None:
    listener = Listener(runtime / "main" / socket_name())

    def refuse_once(frame: dict[str, Any]) -> None:
        listener.answer = accept
        connection = listener.connections.get(timeout=10)
        connection.sendall(line(ok=False, error=code, detail="try later"))
        connection.shutdown(socket.SHUT_RDWR)

    listener.answer = refuse_once
    with listener, sending(portal, runtime) as sender:
        sender.publish(token(1))
        assert [listener.next_frame()["serial"] for _ in range(2)] == [1, 1]
        assert sender.settle()[str(listener.path)].error is None


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"x" * 5000])
def test_what_does_not_answer_as_a_receiver_gets_each_token_only_once(
    portal: BlockingPortal, runtime: Path, answer: bytes
) -> None:
    with (
        Listener(runtime / "main" / socket_name(), lambda _: answer) as listener,
        sending(portal, runtime) as sender,
    ):
        sender.publish(token(1))
        assert listener.next_frame()["serial"] == 1
        for _ in range(2):
            listener.connections.get(timeout=10)
        assert "no receiver of ours" in str(sender.settle()[str(listener.path)].error)
        sender.publish(token(2))
        assert listener.next_frame()["serial"] == 2


def test_a_request_for_a_refresh_is_handed_on_and_a_refusal_comes_back(
    portal: BlockingPortal, runtime: Path
) -> None:
    asked: Queue[int] = Queue()

    def refuse(serial: int) -> str | None:
        asked.put(serial)
        return "asked a moment ago" if asked.qsize() > 1 else None

    with (
        Listener(runtime / "main" / socket_name()) as listener,
        sending(portal, runtime, on_refresh_request=refuse) as sender,
    ):
        sender.publish(token(1))
        listener.next_frame()
        connection = listener.connections.get(timeout=10)
        request = line(request="refresh", serial=1)
        connection.sendall(request[:5])
        connection.sendall(request[5:] + request)
        assert listener.lines.get(timeout=10) == {
            "refresh": "refused",
            "reason": "asked a moment ago",
            "arrived_ns": pytest.approx(boot_ns(), abs=1e11),
        }
        assert (asked.get(), asked.get()) == (1, 1)


def test_requests_that_are_refused_are_logged_once_a_minute(
    portal: BlockingPortal, runtime: Path
) -> None:
    capture, clock, asked = LogCapture(), FakeClock(), Queue[int]()
    log = structlog.wrap_logger(
        None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0)
    )

    def refuse(serial: int) -> str:
        asked.put(serial)
        return "asked a moment ago"

    def logged() -> int:
        return sum(line["event"] == "a receiver asks for a refresh" for line in capture.entries)

    with (
        Listener(runtime / "main" / socket_name()) as listener,
        sending(portal, runtime, on_refresh_request=refuse, clock=clock, log=log) as sender,
    ):
        sender.publish(token(1))
        listener.next_frame()
        connection = listener.connections.get(timeout=10)
        for expected in (1, 2):
            for _ in range(20):
                connection.sendall(line(request="refresh", serial=1))
                listener.lines.get(timeout=10)
            assert logged() == expected
            clock.advance(60)
        assert asked.qsize() == 40


def test_a_connection_reset_by_the_receiver_is_made_again(
    portal: BlockingPortal, runtime: Path
) -> None:
    with (
        Listener(runtime / "main" / socket_name()) as listener,
        sending(portal, runtime) as sender,
    ):
        sender.publish(token(1))
        listener.next_frame()
        connection = listener.connections.get()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        assert listener.next_frame()["serial"] == 1


@pytest.mark.needs_root
def test_a_listener_of_another_user_gets_nothing(
    portal: BlockingPortal, runtime: Path, short_path: Path, start: Any
) -> None:
    path = short_path / "squatted.sock"
    short_path.chmod(0o777)
    squatter = start(*LISTENER, short_path, "--path", path, "--uid", str(NOBODY))
    squatter.wait_for_event("ready")
    with sending(portal, runtime, fixed_paths=(path,)) as sender:
        sender.publish(token(1))
        state = sender.settle()[str(path)]
        assert f"belongs to user {NOBODY}" in str(state.error)
        # The file made to look like ours: the kernel still names who listens.
        os.chown(path, os.geteuid(), -1)
        state = sender.wait_for(lambda states: "is served by" in str(states[0].error))[0]
        assert f"process {squatter.pid} of user {NOBODY}" in str(state.error)
        assert not [one for one in squatter.lines if one.fields.get("event") == "frame"]
    with sending(portal, runtime, fixed_paths=(path,), allow_uids=(NOBODY,)) as sender:
        sender.publish(token(2))
        squatter.wait_for_event("frame", serial=2)


def test_fifty_receivers_have_each_new_token(
    portal: BlockingPortal,
    runtime: Path,
    start: Any,
    measured: Callable[[str], None],
) -> None:
    program = start(*LISTENER, runtime / "main", "--count", "50")
    with sending(portal, runtime) as sender:
        sender.publish(token(1))
        for number in (1, 2, 3):
            before = boot_ns()
            sender.publish(token(number))
            last = _wait_for_frames(program, number, count=50)
            spent = (last - before) / 1e6
        measured(f"50 receivers: last has the token after {spent:.1f} ms")


def test_without_inotify_receivers_are_found_all_the_same(
    portal: BlockingPortal, runtime: Path
) -> None:
    with sending(portal, runtime, watched=False) as sender:
        sender.publish(token(1))
        with Listener(runtime / "main" / socket_name()) as listener:
            assert listener.next_frame(timeout=5)["serial"] == 1


def test_a_user_without_watches_is_told_how_to_get_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    # Using up the user's inotify instances for real would disturb every other program.
    monkeypatch.setattr("tokenrelay.sender.delivery.DirectoryWatch", refuse)
    with structlog.testing.capture_logs() as logs, open_watch(structlog.get_logger()) as watch:
        assert watch is None
    assert "max_user_instances" in logs[0]["hint"]


def test_no_descriptor_is_left_open(portal: BlockingPortal, runtime: Path) -> None:
    def count() -> int:
        gc.collect()  # what is left of earlier tests must not go, or stay, by chance
        return len(list(Path("/proc/self/fd").iterdir()))

    counts = []
    for _ in range(6):
        with (
            Listener(runtime / "main" / socket_name()) as listener,
            sending(portal, runtime) as sender,
        ):
            sender.publish(token(1))
            listener.next_frame()
            sender.settle()
            task = sender.task
        with pytest.raises(CancelledError):
            task.result(timeout=10)
        # The listener's own threads close theirs later, in some rounds too late to be seen.
        counts.append(count())
    # A leak would show in each round.
    assert min(counts[3:]) <= max(counts[:3])


def _wait_for_frames(program: Any, serial: int, *, count: int) -> int:
    found, line_before = [], None
    while len(found) < count:
        line_before = program.wait_for_event("frame", serial=serial, after=line_before)
        found.append(line_before.fields["arrived_ns"])
    return max(found)


def _dead_pid() -> int:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    return pid
