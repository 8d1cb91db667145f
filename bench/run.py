"""The one command of the benchmarks: builds, runs every row in turns, prints, keeps raw samples.

python bench/run.py [delivery|read|callbacks|fanout|all] [--quick] [--out DIR]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from typing import TYPE_CHECKING

from lab import build, conductor, environment, fanout, plots, reads, report, rows

if TYPE_CHECKING:
    from collections.abc import Callable


def run_delivery(options: argparse.Namespace, programs: Path, facts: dict[str, object]) -> None:
    plan = conductor.placed(chosen_plan(options))
    run_rows("delivery", rows.DELIVERY, plan, options, programs, facts)


def run_callbacks(options: argparse.Namespace, programs: Path, facts: dict[str, object]) -> None:
    run_rows("callbacks", rows.CALLBACKS, chosen_plan(options), options, programs, facts)


def chosen_plan(options: argparse.Namespace) -> conductor.Plan:
    plan = conductor.QUICK if options.quick else conductor.FULL
    if options.long_idle:
        plan = replace(plan, gaps=(*plan.gaps, conductor.LONG_IDLE))
    return plan


def run_rows(
    name: str,
    chosen: tuple[rows.Row, ...],
    plan: conductor.Plan,
    options: argparse.Namespace,
    programs: Path,
    facts: dict[str, object],
) -> None:
    if options.only:
        chosen = tuple(row for row in chosen if any(word in row.name for word in options.only))
    result = conductor.conduct(chosen, plan, programs)
    gaps = [gap.name for gap in plan.gaps]
    publish(options.out / f"{name}.txt", report.tables(result, chosen, gaps))
    raw = report.raw_samples(result)
    report.save(
        options.out / f"{name}.json.gz", facts, {"samples": raw, "left_out": result.left_out}
    )
    plots.latency_plots(raw, gaps, options.out, name)


def run_read(options: argparse.Namespace, programs: Path, facts: dict[str, object]) -> None:
    native = reads.native(programs, quick=options.quick)
    python, left_out = reads.python(programs, quick=options.quick)
    publish(options.out / "read.txt", reads.tables(native, python, left_out))
    raw = {"native": reads.raw(native), "python": python, "left_out": left_out}
    report.save(options.out / "read.json.gz", facts, raw)


def run_fanout(options: argparse.Namespace, programs: Path, facts: dict[str, object]) -> None:
    results = fanout.run(programs, quick=options.quick)
    publish(options.out / "fanout.txt", fanout.table(results))
    report.save(options.out / "fanout.json.gz", facts, {"fanout": fanout.raw(results)})


def publish(path: Path, text: str) -> None:
    print(text, flush=True)
    path.write_text(text + "\n")


SUITES: dict[str, Callable[[argparse.Namespace, Path, dict[str, object]], None]] = {
    "delivery": run_delivery,
    "read": run_read,
    "callbacks": run_callbacks,
    "fanout": run_fanout,
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", nargs="?", default="all", choices=[*SUITES, "all"])
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes instead of half an hour"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--only", action="append", help="rows whose name contains this; repeatable")
    parser.add_argument("--long-idle", action="store_true", help="gaps of one second as well")
    return parser.parse_args()


def main() -> int:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        programs = build.build()
    except build.BuildError as error:
        print(error, file=sys.stderr)
        return 1
    facts = environment.environment()
    publish(options.out / "environment.txt", environment.text(facts))
    for suite in SUITES if options.suite == "all" else [options.suite]:
        print(f"\n== {suite}", flush=True)
        SUITES[suite](options, programs, facts)
    print(f"\nraw samples and plots: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
