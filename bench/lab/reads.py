"""ns per read, C++ and Python, each beside its floor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lab.conductor import scratch_directory
from lab.report import heading, line, ratio_text
from lab.statistics import Percentiles, percentiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NATIVE_FLOOR = "plain atomic load"
PYTHON_FLOOR = "nanobind property, cached object"
BENCH = Path(__file__).resolve().parent.parent

Key = tuple[str, int, int]  # row, threads, writer's Hz


def native(programs: Path, *, quick: bool) -> dict[Key, list[float]]:
    """Each sample is the mean of a batch of 8192 reads."""
    with scratch_directory() as scratch:
        done = subprocess.run(
            [programs / "read", "--socket", f"{scratch}/s", "--rounds", "3" if quick else "20"],
            stdout=subprocess.PIPE,
            check=True,
        )
    samples: dict[Key, list[float]] = {}
    for text in done.stdout.splitlines():
        window = json.loads(text)
        key = (window["row"], window["threads"], window["writer_hz"])
        samples.setdefault(key, []).extend(window["ns"])
    return samples


def python(programs: Path, *, quick: bool) -> tuple[dict[str, list[float]], dict[str, str]]:
    """By row, ns per read in each repeat; and what was left out, with the reason."""
    with scratch_directory() as scratch:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "peers.reads"),
                *("--socket", f"{scratch}/s", "--programs", programs),
                *("--repeats", "7" if quick else "21"),
            ],
            stdout=subprocess.PIPE,
            check=True,
            cwd=BENCH,
            env=os.environ | {"PYTHONPATH": str(BENCH)},
        )
    answer = json.loads(done.stdout)
    return answer["ns"], answer["left_out"]


def tables(
    native_samples: Mapping[Key, Sequence[float]],
    python_samples: Mapping[str, Sequence[float]],
    left_out: Mapping[str, str],
) -> str:
    lines: list[str] = []
    for threads, hz in dict.fromkeys((threads, hz) for _, threads, hz in native_samples):
        writer = f"writer at {hz // 1000} kHz" if hz else "writer at rest"
        figures = {
            row: percentiles(samples)
            for (row, of_threads, of_hz), samples in native_samples.items()
            if (of_threads, of_hz) == (threads, hz)
        }
        title = f"C++, {threads} reading thread{'s' if threads > 1 else ''}, {writer}: ns per read"
        lines += table(title, figures, NATIVE_FLOOR)
    lines += python_table(python_samples)
    lines += [f"left out: {name}: {why}" for name, why in left_out.items()]
    return "\n".join(lines)


def python_table(samples: Mapping[str, Sequence[float]]) -> list[str]:
    figures = {row: percentiles(values) for row, values in samples.items()}
    floor = PYTHON_FLOOR if PYTHON_FLOOR in figures else "attribute"
    return table(f"Python: ns per read (floor: {floor})", figures, floor)


def table(title: str, figures: Mapping[str, Percentiles], floor: str) -> list[str]:
    lines = [heading(title, ratio=True)]
    for row, of in figures.items():
        lines.append(line(row, of, scale=1.0, ratio=ratio_text(of, figures.get(floor))))
    return lines


def raw(samples: Mapping[Key, Sequence[float]]) -> list[dict[str, object]]:
    return [
        {"row": row, "threads": threads, "writer_hz": hz, "ns": list(values)}
        for (row, threads, hz), values in samples.items()
    ]
