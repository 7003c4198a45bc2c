"""Rounds of all shots, each in another order, and what is made of them.

A machine that changes its mind does so for everybody: whatever is compared is compared within a round, by turns where the load can, and
the median of the rounds is told, with the lowest and the highest.
"""

import random
import statistics
import time

from .processes import Broken, say

FIGURES = ("cpu_us", "rps", "p50_us", "p99_us", "rss")
# Requests of each caller right before what is measured: what a gateway does for a caller once in minutes (ours signs an assertion, and
# keeps it as it is written from its eighth use on) is done by then, and not taken for what each of the twenty that follow costs.
WARM = 9
# Turns that a shot's requests are sent in, where its load can, each in another order of the shots. The more, the less the rounds differ, and
# the more of each is spent on finding one's memory again after the others (docs/performance.md).
TURNS = 8


def fire(shots, rounds, requests, progress=None, seed=1, skipped=None):
    """Fires every shot once in each round, in a new order: (case, contender) -> its reports. Whoever breaks is left out."""
    alive, reports = list(shots), {(shot.case.name, shot.contender): [] for shot in shots}

    def leave_out(shot, why):
        say(f"SKIPPED {shot.contender} at {shot.case.name}: {why}")
        alive.remove(shot)
        reports.pop((shot.case.name, shot.contender))
        if skipped is not None:
            skipped[f"{shot.contender} at {shot.case.name}"] = f"broke while it was measured: {why}"

    order, began = random.Random(seed), time.monotonic()
    for number in range(rounds):
        if progress:
            progress.part(f"round {number + 1} of {rounds}")
        for group in shuffled(alive, order):
            known = [shot for shot, _ in fired(group, order, lambda shot: WARM * shot.callers, 1, leave_out)]
            for shot, report in fired(known, order, lambda _: requests, TURNS, leave_out):
                reports[shot.case.name, shot.contender].append(report)
        each = (time.monotonic() - began) / (number + 1)
        say(f"round {number + 1} of {rounds}: {brief(reports)} ({each:.0f} s each)")
    return reports


def fired(shots, order, requests, turns, leave_out):
    """Fires these shots, a turn of each in any order until all are over: (shot, report) of each that has not broken."""
    under_way = [(shot, requests(shot), shot.fire(requests(shot), turns)) for shot in shots]
    while under_way:
        for one in order.sample(under_way, len(under_way)):
            shot, count, course = one
            try:
                next(course)
            except StopIteration as end:
                under_way.remove(one)
                # One in a hundred may be lost on a busy machine; more, and something else was measured than was asked for.
                if end.value["errors"] * 100 > count:
                    leave_out(shot, f"{end.value['errors']} of {count} answers were wrong: {end.value.get('statuses')}")
                else:
                    yield shot, end.value
            except (Broken, OSError) as error:
                under_way.remove(one)
                leave_out(shot, error)


def shuffled(shots, order):
    """Groups of those that are divided by each other, in any order."""
    groups = {}
    for shot in shots:
        groups.setdefault(shot.case.group, []).append(shot)
    return order.sample(list(groups.values()), len(groups))


def brief(reports):
    """One line for whoever watches."""
    shown = [
        (case, who, rounds[-1]["cpu_us"]) for (case, who), rounds in reports.items() if case in ("jwt_rs256", "pass")
    ]
    return ", ".join(f"{case} {who} {cost:.1f}" for case, who, cost in shown)


def summary(rounds):
    """The medians of a shot's rounds, and what went wrong in all of them."""
    found = {name: statistics.median(report[name] for report in rounds) for name in FIGURES if name in rounds[0]}
    costs = [report["cpu_us"] for report in rounds]
    found |= {"cpu_us_low": min(costs), "cpu_us_high": max(costs)}
    found |= {
        "errors": sum(report["errors"] for report in rounds),
        "requests": sum(report["requests"] for report in rounds),
    }
    return found


def paired(one, other, figure="cpu_us"):
    """one ÷ other, round by round: median, lowest, highest."""
    ratios = [a[figure] / b[figure] for a, b in zip(one, other, strict=True)]
    return {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios), "rounds": ratios}
