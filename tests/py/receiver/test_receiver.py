"""TokenReceiver: what it holds, waits for, refuses and leaves behind."""

from __future__ import annotations

import copy
import errno
import gc
import os
import pickle
import select
import signal
import stat
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from receiver_support import (
    FAR_FUTURE,
    PATIENCE,
    Sender,
    deliver,
    eventually,
    open_descriptors,
    receiver_threads,
    run_python,
)

from support.waiting import wait_until
from tokenrelay import (
    ReceiverError,
    ReceiverStopped,
    Token,
    TokenReceiver,
    TokenRelayError,
    TokenTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "s3cret-canary"


def short_lived(receiver: TokenReceiver) -> Token:
    """Deliver a token that expires within a second or two."""
    deliver(receiver, "brief", expires_at=int(time.time()) + 2)
    return receiver.wait(PATIENCE)


def await_expiry(token: Token) -> None:
    while not token.expired:
        select.select([], [], [], max(token.expires_in, 0.001))


@pytest.fixture
def alarm() -> Iterator[None]:
    """KeyboardInterrupt in the main thread after 0.2 s, as by Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


# --- the token --------------------------------------------------------------------------------


def test_there_is_no_token_before_the_first(receiver: TokenReceiver) -> None:
    assert receiver.token is None


def test_a_token_carries_what_the_sender_said(receiver: TokenReceiver) -> None:
    deliver(
        receiver,
        "abc",
        serial=7,
        scope="read trade",
        account="schwab",
        issued_at=1_700_000_000,
        grant_expires_at=1_800_000_000,
    )
    token = receiver.wait(PATIENCE)
    assert (token.access_token, token.authorization) == ("abc", "Bearer abc")
    assert (token.serial, token.generation, token.expires_at) == (7, 1, FAR_FUTURE)
    assert (token.scope, token.account) == ("read trade", "schwab")
    assert (token.issued_at, token.grant_expires_at) == (1_700_000_000, 1_800_000_000)
    assert token.refresh_token is None
    assert not token.expired
    assert token.expires_in == pytest.approx(FAR_FUTURE - time.time(), abs=5)
    assert 0 < token.received_at_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_a_bare_token_lives_for_thirty_minutes_and_says_nothing_else(
    receiver: TokenReceiver,
) -> None:
    with Sender(receiver) as sender:
        sender.send_line("test_token_abc123")
        assert sender.next_line() == {"ok": True, "generation": 1}
        assert sender.at_end()
    token = receiver.wait(PATIENCE)
    assert token.expires_in == pytest.approx(1800, abs=5)
    assert (token.serial, token.scope, token.account) == (None, None, None)


def test_a_read_gives_the_same_object_until_the_next_publication(receiver: TokenReceiver) -> None:
    deliver(receiver, "one")
    first = receiver.token
    assert receiver.token is first
    assert first is not None
    assert first.authorization is first.authorization
    deliver(receiver, "two")
    second = receiver.token
    assert second is not first
    assert second is not None
    assert (first.access_token, second.access_token) == ("one", "two")


def test_threads_that_read_at_once_never_see_a_generation_go_down(receiver: TokenReceiver) -> None:
    faults: list[tuple[int, int]] = []
    done = threading.Event()

    def read() -> None:
        last = 0
        while not done.is_set():
            token = receiver.token
            generation = token.generation if token else 0
            if generation < last:
                faults.append((last, generation))
            last = generation

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    with Sender(receiver) as sender:
        for number in range(60):
            sender.send(f"token-{number}")
    done.set()
    for reader in readers:
        reader.join()
    assert faults == []


def test_a_replaced_token_keeps_its_own_values(receiver: TokenReceiver) -> None:
    tokens = []
    with Sender(receiver) as sender:
        for number in range(20):
            sender.send(f"token-{number}")
            tokens.append(receiver.wait(PATIENCE))
    assert [token.access_token for token in tokens] == [f"token-{n}" for n in range(20)]


def test_a_refresh_token_is_dropped_unless_asked_for() -> None:
    with TokenReceiver("a") as plain, TokenReceiver("b", keep_refresh_token=True) as keeping:
        for receiver in (plain, keeping):
            deliver(receiver, "access", refresh_token="refresh")
        assert plain.wait(PATIENCE).refresh_token is None
        assert keeping.wait(PATIENCE).refresh_token == "refresh"


# --- secrecy ----------------------------------------------------------------------------------


def test_no_text_of_a_receiver_or_token_shows_the_secret() -> None:
    with TokenReceiver("main", keep_refresh_token=True) as receiver:
        deliver(receiver, SECRET, refresh_token=f"refresh-{SECRET}", serial=5)
        others = [(f"{SECRET}-x", 5), (f"{SECRET}-y", 4)]
        answers = [deliver(receiver, text, serial=serial) for text, serial in others]
        token = receiver.wait(PATIENCE)
        subscription = receiver.subscribe(lambda _: None)
        with pytest.raises(TokenTimeout) as timeout:
            receiver.wait(0, after=token)
        texts = [repr(token), str(token), f"{token}", repr([token]), repr(receiver)]
        texts += [repr(receiver.stats), repr(subscription), str(timeout.value), str(answers)]
    assert [answer["error"] for answer in answers] == ["conflict", "stale"]
    assert SECRET not in "\n".join(texts)


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_neither_token_nor_receiver_can_be_pickled_or_copied(duplicate, receiver) -> None:
    deliver(receiver, SECRET)
    for thing in (receiver.wait(PATIENCE), receiver):
        with pytest.raises(TypeError) as refusal:
            duplicate(thing)
        assert SECRET not in str(refusal.value)


def test_a_token_cannot_be_made_changed_or_subclassed(receiver: TokenReceiver) -> None:
    deliver(receiver, "abc")
    token = receiver.wait(PATIENCE)
    with pytest.raises(AttributeError):
        token.access_token = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Token()
    with pytest.raises(TypeError):
        type("Sub", (Token,), {})


# --- wait -------------------------------------------------------------------------------------


def test_wait_after_a_token_gives_the_next_one(receiver: TokenReceiver) -> None:
    deliver(receiver, "one")
    first = receiver.wait(PATIENCE)
    answers: list[Token] = []
    waiter = threading.Thread(target=lambda: answers.append(receiver.wait(PATIENCE, after=first)))
    waiter.start()
    deliver(receiver, "two")
    waiter.join()
    assert [token.access_token for token in answers] == ["two"]


@pytest.mark.parametrize("timeout", [0, 0.05, -1])
def test_wait_without_a_token_times_out(receiver: TokenReceiver, timeout: float) -> None:
    with pytest.raises(TokenTimeout) as error:
        receiver.wait(timeout)
    assert isinstance(error.value, TimeoutError)
    assert isinstance(error.value, TokenRelayError)
    assert "tokenrelay doctor" in str(error.value)


@pytest.mark.parametrize("timeout", [None, 1e12, 1e300, float("inf")])
def test_a_timeout_beyond_every_clock_waits(receiver: TokenReceiver, timeout: float | None) -> None:
    sender = threading.Timer(0.05, deliver, (receiver, "late"))
    sender.start()
    assert receiver.wait(timeout).access_token == "late"
    sender.join()


def test_wait_never_gives_an_expired_token(receiver: TokenReceiver) -> None:
    token = short_lived(receiver)
    await_expiry(token)
    assert receiver.token is token
    assert token.expires_in <= 0
    with pytest.raises(TokenTimeout):
        receiver.wait(0.05)
    deliver(receiver, "fresh")
    assert receiver.wait(PATIENCE).access_token == "fresh"


def test_wait_on_a_receiver_that_never_started_says_so() -> None:
    with pytest.raises(ReceiverStopped, match=r"start\(\)"):
        TokenReceiver("main").wait()


def test_stop_ends_every_wait(receiver: TokenReceiver) -> None:
    outcomes: list[str] = []

    def wait() -> None:
        try:
            receiver.wait()
        except ReceiverStopped:
            outcomes.append("stopped")

    waiters = [threading.Thread(target=wait) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    receiver.stop()
    for waiter in waiters:
        waiter.join(PATIENCE)
    assert outcomes == ["stopped"] * 3


@pytest.mark.usefixtures("alarm")
def test_ctrl_c_ends_a_wait(receiver: TokenReceiver) -> None:
    with pytest.raises(KeyboardInterrupt):
        receiver.wait(PATIENCE)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("blocking", ["stop", "cancel"])
def test_ctrl_c_ends_a_stop_or_cancel_behind_a_callback_that_never_returns(blocking: str) -> None:
    entered, release = threading.Event(), threading.Event()

    def callback(_: Token) -> None:
        entered.set()
        release.wait()

    receiver = TokenReceiver("main").start()
    subscription = receiver.subscribe(callback)
    deliver(receiver, "abc")
    entered.wait(PATIENCE)
    with pytest.raises(KeyboardInterrupt):
        receiver.stop() if blocking == "stop" else subscription.cancel()
    release.set()
    subscription.cancel()
    receiver.stop()
    assert receiver_threads() == []


# --- refresh requests -------------------------------------------------------------------------


def test_a_refresh_is_asked_of_the_sender_that_delivered(receiver: TokenReceiver) -> None:
    with Sender(receiver) as sender:
        sender.send("one", serial=11)
        receiver.request_refresh(receiver.wait(PATIENCE))
        assert sender.next_line() == {"request": "refresh", "serial": 11}
        old = receiver.wait(PATIENCE)
        sender.send("two", serial=12)
        receiver.request_refresh(old)
        assert sender.send("three", serial=13) == {"ok": True, "generation": 3}
    assert receiver.stats.refresh_requests == 1


# --- start and stop ---------------------------------------------------------------------------


def test_start_and_stop_are_idempotent_and_the_token_stays(receiver: TokenReceiver) -> None:
    path = receiver.path
    assert receiver.start() is receiver
    assert receiver.path == path
    deliver(receiver, "abc")
    receiver.stop()
    receiver.stop()
    assert not receiver.running
    assert not Path(path).exists()
    assert receiver.wait(0).access_token == "abc"


def test_a_restarted_receiver_goes_on_counting(receiver: TokenReceiver) -> None:
    deliver(receiver, "one")
    receiver.stop()
    receiver.start()
    assert deliver(receiver, "two") == {"ok": True, "generation": 2}
    assert receiver.wait(PATIENCE).access_token == "two"


def test_many_starts_and_stops_leave_no_descriptor_and_no_thread() -> None:
    receiver = TokenReceiver("main")
    with receiver:
        receiver.subscribe(lambda _: None)
    descriptors = open_descriptors()
    for _ in range(200):
        receiver.start()
        receiver.stop()
    assert open_descriptors() == descriptors
    assert receiver_threads() == []


def test_threads_that_start_and_stop_one_receiver_leave_one_state() -> None:
    receiver = TokenReceiver("main")
    barrier = threading.Barrier(4)

    def churn() -> None:
        barrier.wait()
        for _ in range(30):
            receiver.start()
            receiver.stop()

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    receiver.stop()
    assert receiver_threads() == []
    with receiver:
        assert deliver(receiver, "abc")["ok"]


def test_two_receivers_live_side_by_side() -> None:
    with TokenReceiver("main") as first, TokenReceiver("main") as second:
        deliver(first, "one")
        deliver(second, "two")
        assert first.wait(PATIENCE).access_token == "one"
        assert second.wait(PATIENCE).access_token == "two"


def test_a_dropped_receiver_ends_its_threads_and_removes_its_socket() -> None:
    receiver = TokenReceiver("main").start()
    receiver.subscribe(lambda _: None)
    path, ghost = Path(receiver.path), weakref.ref(receiver)
    del receiver
    assert ghost() is None
    assert not path.exists()
    assert receiver_threads() == []


def test_a_receiver_in_a_garbage_cycle_ends_too() -> None:
    receiver = TokenReceiver("main").start()
    path = Path(receiver.path)
    receiver.subscribe(lambda _, keep=receiver: None)
    deliver(receiver, "abc")
    del receiver
    gc.collect()
    assert not path.exists()
    assert receiver_threads() == []


def test_a_receiver_dropped_while_its_callback_runs_ends_after_it(runtime: Path) -> None:
    entered, release, left = threading.Event(), threading.Event(), threading.Event()

    def callback(_: Token) -> None:
        entered.set()
        release.wait()
        left.set()

    receiver = TokenReceiver("main").start()
    path = Path(receiver.path)
    receiver.subscribe(callback)
    deliver(receiver, "abc")
    entered.wait(PATIENCE)
    del receiver
    release.set()
    assert left.wait(PATIENCE)
    wait_until(lambda: not path.exists() and not receiver_threads(), runtime)


def test_a_receiver_dropped_by_its_own_callback_ends_after_it(runtime: Path) -> None:
    held = [TokenReceiver("main").start()]
    path = Path(held[0].path)
    held[0].subscribe(lambda _: held.clear())
    deliver(str(path), "abc")
    wait_until(lambda: not path.exists() and not receiver_threads(), runtime)
    assert held == []


def test_an_object_whose_init_never_ran_is_refused() -> None:
    hollow = TokenReceiver.__new__(TokenReceiver)
    with pytest.raises(TypeError, match="__init__"):
        hollow.token  # noqa: B018
    hollow.itself = hollow  # type: ignore[attr-defined]
    del hollow
    gc.collect()


# --- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"account": "main", "path": "/tmp/x.sock"},
        {"path": ""},
        {"busy_poll": -1},
        {"busy_poll": float("nan")},
        {"cpu": -1},
        {"cpu": 100_000},
        {"mode": 0o10000},
        {"allow_uids": [-1]},
    ],
)
def test_an_option_out_of_range_is_a_value_error(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(reversed(options))):
        TokenReceiver(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("account", 3),
        ("path", 3),
        ("busy_poll", "yes"),
        ("cpu", "1"),
        ("allow_uids", 1000),
        ("allow_uids", "1000"),
        ("allow_uids", ["root"]),
        ("mode", "600"),
        ("keep_refresh_token", "no"),
        ("on_native", 3),
        ("on_native", "on_token"),
        ("on_native", print),
    ],
)
def test_an_option_of_another_type_is_a_type_error_that_names_it(
    option: str, value: object
) -> None:
    with pytest.raises(TypeError, match=f"^{option}: .* not "):
        TokenReceiver(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("account", ["", "Main", "a/b", "..", "x" * 33])
def test_a_bad_account_name_is_refused_at_start(account: str) -> None:
    with pytest.raises(ReceiverError) as error:
        TokenReceiver(account).start()
    assert error.value.errno == errno.EINVAL
    assert isinstance(error.value, OSError)


def test_a_path_in_use_names_the_owner(short_path: Path) -> None:
    path = short_path / "fixed.sock"
    with TokenReceiver(path=path) as owner:
        assert owner.path == str(path)
        with pytest.raises(ReceiverError, match=f"process {os.getpid()}") as error:
            TokenReceiver(path=str(path)).start()
        assert error.value.errno == errno.EADDRINUSE
        assert deliver(owner, "abc")["ok"]


def test_a_path_too_long_for_a_socket_says_what_to_do(short_path: Path) -> None:
    with pytest.raises(ReceiverError, match="at most 107") as error:
        TokenReceiver(path=short_path / ("x" * 108)).start()
    assert error.value.errno == errno.ENAMETOOLONG


def test_a_relative_path_outlives_a_change_of_directory(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(short_path)
    with TokenReceiver(path="here.sock") as receiver:
        monkeypatch.chdir("/")
        assert receiver.path == str(short_path / "here.sock")
    assert not (short_path / "here.sock").exists()


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_socket_has_the_mode_asked_for(mode: int) -> None:
    with TokenReceiver("main", mode=mode) as receiver:
        assert stat.S_IMODE(Path(receiver.path).stat().st_mode) == mode


def test_busy_poll_receives_and_calls_back() -> None:
    called = threading.Event()
    with TokenReceiver("main", busy_poll=0.2) as receiver:
        receiver.subscribe(lambda _: called.set())
        for number in range(3):
            assert deliver(receiver, f"token-{number}")["generation"] == number + 1
        assert called.wait(PATIENCE)


def one_spins() -> bool:
    """proc_pid_stat(5): one of the two threads runs, the other sleeps."""
    tasks = [Path(f"/proc/self/task/{thread}/stat").read_text() for thread in receiver_threads()]
    return sorted(text.rpartition(")")[2].split()[0] for text in tasks) == ["R", "S"]


def test_one_thread_alone_spins_and_the_other_takes_over_from_a_callback() -> None:
    entered, leave = threading.Event(), threading.Event()

    def callback(_: Token) -> None:
        entered.set()
        leave.wait(PATIENCE)

    with TokenReceiver("main", busy_poll=60) as receiver:
        receiver.subscribe(callback)
        eventually(one_spins)
        with Sender(receiver) as sender:
            sender.send("one")
            assert entered.wait(PATIENCE)
            assert sender.send("two")["generation"] == 2
        leave.set()
        eventually(one_spins)


def affinity(thread: int) -> set[int]:
    try:
        return os.sched_getaffinity(thread)
    except ProcessLookupError:  # of an earlier receiver, which has just ended
        return set()


def test_cpu_pins_the_threads() -> None:
    with TokenReceiver("main", cpu=0) as receiver:
        deliver(receiver, "abc")
        assert 0 in os.sched_getaffinity(0)
        eventually(lambda: [affinity(thread) for thread in receiver_threads()] == [{0}, {0}])


@pytest.mark.needs_root
@pytest.mark.parametrize("allowed", [False, True])
def test_another_user_is_heard_only_if_allowed(short_path: Path, allowed: bool) -> None:
    short_path.chmod(0o755)
    path = short_path / "shared.sock"
    uids = [12345] if allowed else []
    with TokenReceiver(path=path, mode=0o666, allow_uids=uids) as receiver:
        code = (
            "import os, sys, receiver_support as s; os.setuid(12345)\n"
            "print(s.deliver(sys.argv[1], 'foreign'))"
        )
        done = run_python(code, str(path))
        assert (done.returncode == 0) is allowed
        assert (receiver.token is not None) is allowed
        assert receiver.stats.foreign == (0 if allowed else 1)


def test_stats_count_what_came(receiver: TokenReceiver) -> None:
    with Sender(receiver) as sender:
        sender.send("one", serial=2)
        sender.send("one", serial=2)
        sender.send("zero", serial=1)
        sender.send_line('{"broken')
        sender.next_line()
        stats = receiver.stats
    assert (stats.generation, stats.published, stats.repeated) == (1, 1, 1)
    assert (stats.refused["stale"], stats.refused["malformed"]) == (1, 1)
    assert (stats.connections, stats.accepted) == (1, 1)
    with pytest.raises(AttributeError):
        stats.published = 7  # type: ignore[misc]


def test_descriptors_are_closed_on_exec(receiver: TokenReceiver) -> None:
    code = """
import os
links = []
for entry in os.listdir("/proc/self/fd"):
    if os.path.lexists(f"/proc/self/fd/{entry}"):
        links.append(os.readlink(f"/proc/self/fd/{entry}"))
raise SystemExit(any(link.startswith(("anon_inode:", "socket:")) for link in links))
"""
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
