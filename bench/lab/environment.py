"""The machine and the versions behind a result; nothing that names the machine or its paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

PACKAGES = (
    *("tokenrelay", "nanobind", "pyzmq", "redis", "hiredis", "grpcio"),
    *("google-auth", "botocore", "authlib"),
)
LIBRARIES = ("libzmq", "liburcu-memb")


def output(*command: str) -> str:
    """First line of what the command says, or "" where it cannot run."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip().partition("\n")[0]


def first_line(path: str, prefix: str = "") -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((text for text in lines if text.startswith(prefix)), "").partition(": ")[2] or (
        lines[0] if lines and not prefix else ""
    )


def versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name in LIBRARIES:
        if version := output("pkg-config", "--modversion", name):
            found[name] = version
    if redis := output("redis-server", "--version"):
        found["redis-server"] = redis.split("v=")[-1].split()[0]
    return found


def environment() -> dict[str, object]:
    system = "/sys/devices/system"
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": first_line("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "hypervisor": output("systemd-detect-virt", "--vm") or "unknown",
        "kernel": platform.release(),
        "governor": first_line(f"{system}/cpu/cpu0/cpufreq/scaling_governor") or "not offered",
        "clocksource": first_line(f"{system}/clocksource/clocksource0/current_clocksource"),
        "load": os.getloadavg()[0],
        "compiler": output(os.environ.get("CXX", "c++"), "--version"),
        "python": platform.python_version(),
        "versions": versions(),
        "commit": output("git", "rev-parse", "--short", "HEAD") or "none",
        "changed": bool(output("git", "status", "--porcelain", "--untracked-files=no")),
    }


def text(facts: dict[str, object]) -> str:
    return "\n".join(f"{name:<12} {value}" for name, value in facts.items())
