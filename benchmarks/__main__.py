"""``python -m benchmarks [scenario ...]``: measure the gateway beside Go and nginx; tables, JSON, SVG."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.cpu import Busy, machine
from benchmarks.peers import PEERS
from benchmarks.proc import BenchError
from benchmarks.report import Report, as_text
from benchmarks.servers import CONTENDERS, Contender
from benchmarks.svg import draw

#: What other gateways, which proxy LLM requests only, can be asked as well.
PEER_SCENARIOS = ("plain", "sse", "sse_burst", "latency", "memory", "start")
SCENARIOS = (
    "plain",
    "plain_new",
    "sse",
    "sse_burst",
    "latency",
    "memory",
    "start",
    "bodies",
    "workers",
    "growth",
    "sessions",
    "promptcache",
    "kvcache",
)


def main() -> int:
    """Run what was asked for. Status 0 when every contender was measured in every scenario, 1 otherwise."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that every child is ended
    _raise_file_limit()
    contenders = _contenders(options)
    if not contenders:
        return 1
    with tempfile.TemporaryDirectory(prefix="pixiu-py-bench-") as folder:
        bench = Bench(contenders, Path(folder), 1 if options.quick else options.rounds, options.quick)
        # The load generators are this process; upstream and proxies are put on their cores when they are started.
        os.sched_setaffinity(0, bench.cores.load)
        report = _run(bench, options.scenarios)
    print(as_text(report))
    _write(options.json, report.to_json())
    _write(options.svg, draw(report))
    complete = len(report.results) == len(options.scenarios) and not any(result.failed for result in report.results)
    return 0 if complete else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "scenarios",
        nargs="*",
        choices=[*SCENARIOS, []],
        metavar="scenario",
        help=f"of {', '.join(SCENARIOS)}; absent: all",
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds per scenario")
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK", "") not in ("", "0"))
    parser.add_argument("--peers", action="store_true", help="measure other gateways too; installs them on first use")
    parser.add_argument("--only", default="", help="contenders, separated by commas")
    parser.add_argument("--json", type=Path, default=Path("build/bench/results.json"))
    parser.add_argument("--svg", type=Path, default=Path("build/bench/results.svg"))
    options = parser.parse_args()
    options.scenarios = options.scenarios or list(PEER_SCENARIOS if options.peers else SCENARIOS)
    return options


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _contenders(options: argparse.Namespace) -> list[Contender]:
    known = CONTENDERS + (PEERS if options.peers else ())
    wanted = options.only.split(",") if options.only else [contender.name for contender in known]
    chosen = []
    for contender in known:
        if contender.name not in wanted:
            continue
        reason = contender.missing()
        if reason:
            _say(f"{contender.name} is left out: {reason}")
        else:
            chosen.append(contender)
    return chosen


def _run(bench: Bench, scenarios: Sequence[str]) -> Report:
    versions = {contender.name: contender.version() for contender in bench.contenders}
    report = Report(machine(), {**versions, "load": f"wrk, uvloop, Python {platform.python_version()}"})
    busy, begun = Busy(), time.monotonic()
    for name in scenarios:
        _say(f"{time.monotonic() - begun:4.0f} s  {name}")
        try:
            report.results.append(import_module(f"benchmarks.scenarios.{name}").run(bench))
        except BenchError as error:
            _say(f"{name} was given up: {error}")
    _say(f"{time.monotonic() - begun:4.0f} s  done")
    report.about["run"] = f"{'quick, ' if bench.quick else ''}{time.monotonic() - begun:.0f} s"
    used = f"used {busy.by_others():.0f} % of the cores meanwhile"
    report.about["other programs"] = f"{used}, other guests of the host {busy.stolen():.0f} %"
    return report


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    _say(f"wrote {path}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
