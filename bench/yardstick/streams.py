"""What an event stream costs at the door, beside a bare Pingora proxy: CPU of a chunk, and how much later the first byte comes.

The program `streams` is at both ends. The two proxies take turns, so that a machine that changes its mind changes it for both.
`make bench` takes a short form of it as one of its cuts; `bench/streams` the long one.
"""

import contextlib
import json
import resource
import statistics
from pathlib import Path

from . import contenders as c
from . import loads
from .cases import COUNTED
from .processes import LOAD, Broken, Server, say
from .rig import Rig

CHUNKS, CHUNK_BYTES = 1000, 64
FIELDS = ("cpu_us", "core", "load_core", "first_byte_p50_us", "first_byte_p90_us", "first_byte_p99_us")
TARGET_US = 300  # the first byte may come so much later than through the bare proxy, at the median
# Above this share of either core, what a first byte waits for is mostly other streams' chunks, and twice the CPU would be many times the wait.
BUSY = 0.5


def plan_of(streams, at_once, pace_ms, rounds):
    """`streams` through each proxy in all, and `pace_ms` from one chunk of a stream to the next."""
    return {
        "streams": streams,
        "chunks": CHUNKS,
        "at_once": at_once,
        "pace_ms": pace_ms,
        "spread_ms": pace_ms * CHUNKS // 4,
        "rounds": rounds,
        "callers": max(100, at_once // 10),  # an account may have 20 requests in flight
    }


# Both well below saturation on a slow machine too, where a chunk takes 35 µs: 10,000 and 12,500 chunks a second.
# Two minutes.
SHORT = plan_of(streams=300, at_once=150, pace_ms=15, rounds=2)
# Half an hour.
LONG = plan_of(streams=10_000, at_once=500, pace_ms=40, rounds=5)


def options(plan):
    """What `bench/streams` was told, to be of this plan and not of the long form."""
    names = ("streams", "at_once", "pace_ms", "rounds")
    return [f"--{name.replace('_', '-')} {plan[name]}" for name in names if plan[name] != LONG[name]]


class Stage(Rig):
    """A rig whose upstream plays a stream of events to whoever asks."""

    def __init__(self, stack, tools, plan):
        self.plan = plan
        super().__init__(stack, tools)

    def start_upstream(self):
        command = [self.tools.binaries / "streams", "play"]
        command += ["--chunks", self.plan["chunks"], "--pace-ms", self.plan["pace_ms"]]
        self.upstream = self.keep(Server(command, self.folder / "streams.log", LOAD, announces=True))
        self.upstream_port = json.loads(self.upstream.said)["http"].rsplit(":", 1)[1]


def load_cpu_ns(stage):
    """What the other end has taken so far: the upstream, and every client that has ended."""
    clients = resource.getrusage(resource.RUSAGE_CHILDREN)
    return stage.upstream.cpu_ns() + int((clients.ru_utime + clients.ru_stime) * 1e9)


class Memory:
    """Resident memory of a process, and its peak since the last look."""

    def __init__(self, server):
        self.folder = Path(f"/proc/{server.process.pid}")

    def read(self, field):
        lines = (self.folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))

    def resident(self):
        return self.read("VmRSS")

    def take_peak(self):
        peak = self.read("VmHWM")
        (self.folder / "clear_refs").write_text("5")  # proc(5): the peak begins anew
        return peak


def watch(stage, server, lines, streams):
    """Watches `streams` streams through `server`; the report, with what they cost it."""
    plan = stage.plan
    command = [stage.tools.binaries / "streams", "watch", "--target", server.http, "--path", COUNTED]
    command += ["--streams", streams, "--at-once", plan["at_once"], "--chunks", plan["chunks"]]
    command += ["--spread-ms", plan["spread_ms"], "--headers", lines]
    memory, before, load_before = Memory(server), server.cpu_ns(), load_cpu_ns(stage)
    memory.take_peak()
    report = json.loads(loads.run(*command))
    if report["errors"]:
        raise Broken(f"{report['errors']} of {streams} streams failed: {report}")
    report["cpu_us"] = (server.cpu_ns() - before) / 1000 / report["events"]
    report["core"] = (server.cpu_ns() - before) / 1e9 / report["seconds"]
    report["load_core"] = (load_cpu_ns(stage) - load_before) / 1e9 / report["seconds"]
    report["peak"], report["resident"] = memory.take_peak(), memory.resident()
    return report


def measure(stage, servers, lines):
    """kind -> its rounds, after one generation of streams for each that is not counted."""
    plan, rounds, before = stage.plan, {kind: [] for kind in servers}, {}
    for kind, server in servers.items():
        before[kind] = Memory(server).resident()
        watch(stage, server, lines, max(plan["at_once"], plan["callers"]))
    for number in range(plan["rounds"]):
        for kind in list(servers)[:: -1 if number % 2 else 1]:
            rounds[kind].append(watch(stage, servers[kind], lines, plan["streams"] // plan["rounds"]))
        last = {kind: reports[-1] for kind, reports in rounds.items()}
        told = (f"{k} {r['cpu_us']:.2f} µs, {r['first_byte_p50_us']} µs, {r['peak'] >> 20} MiB" for k, r in last.items())
        say(f"round {number + 1} of {plan['rounds']}: " + "; ".join(told))
    return {kind: {"resident_before": before[kind], "rounds": reports} for kind, reports in rounds.items()}


def summarise(measured):
    def median(kind, field):
        return statistics.median(report[field] for report in measured[kind]["rounds"])

    pairs = list(zip(measured["gateway"]["rounds"], measured["bare"]["rounds"], strict=True))
    later = [ours["first_byte_p50_us"] - bare["first_byte_p50_us"] for ours, bare in pairs]
    return {
        **{kind: {field: median(kind, field) for field in FIELDS} for kind in measured},
        "ratio": statistics.median(ours["cpu_us"] / bare["cpu_us"] for ours, bare in pairs),
        "later_us": statistics.median(later),
        "later_us_low": min(later),
        "later_us_high": max(later),
    }


def take(tools, plan):
    """Both proxies before one upstream, with a rig of their own: what was planned, every round, and what is made of them."""
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, tools, plan)
        people = stage.make_callers("EdDSA", plan["callers"], lambda data: c.ours(stage, data))
        servers = {"bare": c.bare(stage), "gateway": c.ours(stage, people.data)}
        measured = measure(stage, servers, people.lines)
    return {"plan": plan, "measured": measured, "summary": summarise(measured)}
