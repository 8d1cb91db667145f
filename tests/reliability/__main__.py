"""``python -m tests.reliability CHECK…``: runs the checks and prints their figures.

Exit code 1 if a promise was broken, or if a known-bad sender was not caught.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from . import crowd, faults, known_bad, power_cut, simulation
from .laboratory import Laboratory

Check = Callable[[argparse.Namespace], bool]


def fault_matrix(options: argparse.Namespace) -> bool:
    with Laboratory() as laboratory:
        calls = faults.calls_of_a_refresh(laboratory)
        cases = [*faults.system_call_cases(calls), *faults.short_write_cases()]
        results = faults.run(laboratory, cases[:: options.every])
    print(faults.table(results))
    return _told(results)


def cuts(options: argparse.Namespace) -> bool:
    with Laboratory() as laboratory:
        results = faults.run(laboratory, faults.cut_cases(laboratory, every=options.every))
    print("answer cut at every byte, by FIN and by RST:", faults.summary(results))
    return _told(results)


def simulate(options: argparse.Namespace) -> bool:
    sound = True
    for grace in (10.0, 0.0):
        world = simulation.World(options.refreshes, options.seed, grace=grace)
        report = simulation.simulate(world)
        print(f"seed {options.seed}, grace {grace:.0f} s: {report}")
        sound &= report.sound(world)
    return sound


def processes(options: argparse.Namespace) -> bool:
    with Laboratory() as laboratory:
        report = crowd.crowd(laboratory, processes=8, rounds=options.rounds)
    print(f"8 processes, {options.rounds} rounds each: {report}")
    return report.sound


def kills(options: argparse.Namespace) -> bool:
    with Laboratory() as laboratory:
        report = crowd.kill_at_random(laboratory, kills=options.kills, seed=options.seed)
    print(f"seed {options.seed}: {report}")
    return report.sound


def power(_: argparse.Namespace) -> bool:
    report = power_cut.cut_power()
    print(f"power cut: {report}")
    return not report.violations


def variants(options: argparse.Namespace) -> bool:
    caught = known_bad_caught(options.seed)
    for name, by in caught.items():
        print(f"{name:28} {'caught by ' + by if by else 'NOT CAUGHT'}")
    return all(caught.values())


def known_bad_caught(seed: int) -> dict[str, str | None]:
    """For each known-bad sender the check that caught it, or None."""
    world = simulation.World(200, seed, refresh_every=1500)
    caught: dict[str, str | None] = {}
    for name in known_bad.VARIANTS:
        if not simulation.simulate(world, variant=name).sound(world):
            caught[name] = "the simulation"
        elif power_cut.cut_power(variant=name).violations:
            caught[name] = "the power cut"
        else:
            with Laboratory() as laboratory:
                report = crowd.crowd(laboratory, processes=8, rounds=10, variant=name)
            caught[name] = None if report.sound else "the processes on one file"
    return caught


def _told(results: list[faults.Result]) -> bool:
    broken = [result for result in results if result.broken]
    for result in broken:
        print(f"{result.row} {result.column}: {', '.join(result.broken)}")
    return not broken


CHECKS: dict[str, Check] = {
    "faults": fault_matrix,
    "cuts": cuts,
    "simulation": simulate,
    "processes": processes,
    "kills": kills,
    "power": power,
    "variants": variants,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("checks", nargs="+", choices=[*CHECKS, "all"], metavar="CHECK",
                        help=f"all, or some of: {', '.join(CHECKS)}")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="of the faults and cuts, each n-th")
    parser.add_argument("--refreshes", type=int, default=100_000, help="of the simulation")
    parser.add_argument("--rounds", type=int, default=1_000, help="of each of the 8 processes")
    parser.add_argument("--kills", type=int, default=500)
    options = parser.parse_args()
    names = list(CHECKS) if "all" in options.checks else options.checks
    return 0 if all(_timed(name, options) for name in names) else 1


def _timed(name: str, options: argparse.Namespace) -> bool:
    print(f"== {name}", flush=True)
    began = time.monotonic()
    sound = CHECKS[name](options)
    print(f"{'sound' if sound else 'BROKEN'} after {time.monotonic() - began:.0f} s\n", flush=True)
    return sound


if __name__ == "__main__":
    sys.exit(main())
