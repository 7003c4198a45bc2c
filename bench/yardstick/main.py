"""The order of a run: find the tools, make the rig, fire the rounds, take the cuts, tell it all."""

import argparse
import contextlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

from . import cases, cuts, ratios, report, rounds, streams, tables
from .machine import Progress, machine, versions
from .processes import LOAD, cores, say
from .rig import ALGORITHMS, ROOT, Rig, Tools

# What each part takes, in seconds, on two slow cores; only an estimate, corrected as the run goes on.
FULL = {"starting": 60, "admit": 10, "cold": 40, "memory": 150, "start": 80, "storm": 230, "reload": 60, "growth": 150, "streams": 130}
ROUND_SECONDS = {"full": 100, "quick": 28}
CUTS = ("admit", "cold", "memory", "start", "storm", "reload", "growth", "streams")


def arguments():
    parser = argparse.ArgumentParser(
        description="What a request costs, side by side with the proxies people would use instead."
    )
    parser.add_argument("--quick", action="store_true", help="the headline alone, printed and not written")
    parser.add_argument(
        "--report", action="store_true", help="write RESULTS.md and charts anew from results.json; measure nothing"
    )
    parser.add_argument("--readme", action="store_true", help="with the report, the block of README too")
    parser.add_argument("--rounds", type=int, help="rounds of each shot (7, quick 3)")
    parser.add_argument("--requests", type=int, help="requests in a round (30000, quick 15000)")
    parser.add_argument("--callers", type=int, default=1000, help="people of each algorithm")
    parser.add_argument("--accounts", type=int, default=1_000_000, help="accounts for memory and start")
    parser.add_argument("--only", nargs="*", default=CUTS, choices=CUTS, help="these cuts only")
    parser.add_argument("--cases", nargs="*", help="these cases only")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    parser.add_argument("--binaries", type=Path, default=target / "release", help="where the programs are")
    parser.add_argument(
        "--peers",
        type=Path,
        default=target / "bench-peers",
        help="where bench/peers/install puts what is no Debian package",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "bench", help="where the results go")
    return parser.parse_args()


def measure(options, progress):
    """Everything there is to measure, as results.json has it."""
    plan = {
        "rounds": options.rounds or (3 if options.quick else 7),
        "requests": options.requests or (15_000 if options.quick else 30_000),
        "callers": options.callers,
        "turns": rounds.TURNS,
    }
    tools = Tools.find(options.binaries, options.peers)
    results = {
        "machine": machine(ROOT),
        "versions": versions(tools),
        "plan": plan,
        "skipped": tools.skipped,
        "cuts": {},
    }
    wanted = dict.fromkeys(options.cases) if options.cases else cases.QUICK if options.quick else None
    with contextlib.ExitStack() as stack:
        progress.part("starting")
        rig = Rig(stack, tools)
        field = cases.make_field(rig, ("RS256", "HS256") if options.quick else ALGORITHMS, plan["callers"])
        if not options.quick:
            results["limits_proved"] = cases.limited(field)
        shots = cases.shots(field, wanted)
        reports = rounds.fire(shots, plan["rounds"], plan["requests"], progress, skipped=tools.skipped)
        results["cases"] = {}
        for (case, contender), of_shot in reports.items():
            results["cases"].setdefault(case, {})[contender] = rounds.summary(of_shot) | {"rounds": of_shot}
        for shot in shots:
            shot.server.stop()
        if not options.quick:
            take_cuts(options, field, plan, results["cuts"], progress)
    results["ratios_detail"] = ratios.ratios(results["cases"], results["cuts"])
    results["ratios"] = ratios.numbers(results["ratios_detail"])
    return results


def take_cuts(options, field, plan, found, progress):
    """What is left out is told as such: else nobody would miss it on the page."""
    field.rig.tools.skipped.update(
        {f"the cut {name}": "this run was told to leave it out" for name in CUTS if name not in options.only}
    )
    crowd = []

    def many():
        if not crowd:
            crowd.append(cuts.Crowd(field.rig, options.accounts))
        return crowd[0]

    sizes = [size for size in (10, 100_000, 1_000_000) if size <= options.accounts]
    if options.accounts < 1_000_000:
        field.rig.tools.skipped["1,000,000 callers and accounts"] = f"this run had {options.accounts:,}"
    takes = {
        "admit": lambda: cuts.admit(field.rig.tools),
        "cold": lambda: cuts.cold(field),
        "memory": lambda: cuts.memory(many(), sizes),
        "start": lambda: cuts.start(many()),
        "storm": lambda: {"one core": cuts.storm(field, 0), "both cores": cuts.storm(field, None)},
        "reload": lambda: cuts.reload(field, plan["requests"]),
        "growth": lambda: cuts.grow(cuts.growth(field), min(5, plan["rounds"]), plan["requests"] // 2),
        "streams": lambda: streams.take(field.rig.tools, streams.SHORT),
    }
    for name in options.only:
        progress.part(name)
        try:
            found[name] = takes[name]()
        except Exception as broken:  # what was measured before must not be lost, whatever this is
            traceback.print_exc()
            say(f"SKIPPED the cut {name}: {broken}")
            field.rig.tools.skipped[f"the cut {name}"] = str(broken) or type(broken).__name__


def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.json"
    if not options.report:
        # Whoever ends us ends what we have started, and the folder goes too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        # The harness itself, and whatever it starts besides the contenders, stays off their core.
        os.sched_setaffinity(0, cores()[LOAD])
        count, seconds = (options.rounds or 3, "quick") if options.quick else (options.rounds or 7, "full")
        parts = {} if options.quick else {name: FULL[name] for name in ("starting", *options.only)}
        parts |= {f"round {n + 1} of {count}": ROUND_SECONDS[seconds] for n in range(count)}
        results = measure(options, Progress(parts))
        if options.quick:
            for name in results["cases"]:
                print("\n".join(tables.case(results, name)))
            print("\n".join(tables.ratios(results)))
            return
        path.write_text(json.dumps(results, indent=1) + "\n")
    results = report.load(path)
    report.write(results, options.out)
    if options.readme:
        report.readme(results, ROOT / "README.md")
    say(f"{path} and RESULTS.md beside it are written")
    print(json.dumps(results["ratios"], indent=2))
