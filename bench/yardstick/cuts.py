"""What is no proxy beside another: unseen tokens, memory, a storm of logins, the start, reloads, growth.

Each cut is a function of the rig that gives figures by name.
"""

import os
import random
import signal
import statistics
import threading
import time

from . import contenders as c
from . import loads, rounds
from .cases import COUNTED, PUBLIC, Case, Shot
from .credentials import Signer, numbered_uuid, seed_people
from .processes import PROXY, Broken, say
from .rig import PASSWORD, get, post, register

UNCOUNTED = "/uncounted/x"


def counter(server, name):
    """One of the gateway's own counters, its labels added up."""
    lines = get(server.metrics, "/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


# -- admit -------------------------------------------------------------------------------------------------------------


def admit(tools, times=3):
    """Microseconds of `admit` alone for a cached token, every round of every run, and nanoseconds of its steps: what the
    gateway's example of that name says, which calls what the gateway calls, on one request again and again."""
    program, said = tools.binaries / "examples" / "admit", []
    if not program.exists():
        raise Broken("the gateway's example `admit` is not built (cargo build --release -p gateway --features yardstick --example admit)")
    for _ in range(times):
        lines = (line.split() for line in loads.run(program, place=PROXY).splitlines())
        said.append({name: [int(number) for number in numbers] for name, *numbers in lines})
    micros = [number / 1000 for one in said for number in one.pop("admit")]
    steps = {name: statistics.median(one[name][0] for one in said) for name in said[0]}
    return {"median": statistics.median(micros), "low": min(micros), "high": max(micros), "rounds": micros, "steps": steps}


# -- cold --------------------------------------------------------------------------------------------------------------


def cold(field, times=3):
    """Every token unseen: its signature is checked and its account looked up in SQLite."""
    found = {}
    for algorithm, people in field.callers.items():
        reports = []
        for _ in range(times):
            gateway = c.ours(field.rig, field.rig.copy(people.data), algorithm)
            loads.http1(field.rig, gateway, PUBLIC, 3000)  # connections exist, and code is warm
            reports.append(
                loads.measured(gateway, loads.http1, field.rig, gateway, COUNTED, len(people.tokens), people.lines)
            )
            gateway.stop()
        found[algorithm] = rounds.summary(reports) | {"rounds": reports}
    return found


# -- memory and hit rate -----------------------------------------------------------------------------------------------


class Crowd:
    """A data folder with many accounts, each with a session, and their tokens (HS256)."""

    def __init__(self, rig, count):
        self.rig, self.count, self.data = rig, count, rig.folder / "data-crowd"
        c.ours(rig, self.data, "HS256").stop()
        began = time.monotonic()
        for start in range(0, count, 100_000):
            seed_people(self.data, range(start, min(count, start + 100_000)))
        self.seconds = time.monotonic() - began
        self.signer = Signer()

    def lines(self, name, numbers):
        path = self.rig.folder / f"crowd-{name}"
        with open(path, "w") as file:
            for n in numbers:
                token = self.signer.token(numbered_uuid("account", n), numbered_uuid("session", n))
                file.write(f"authorization: Bearer {token}\n")
        return path


def filled(crowd, path, count, lines):
    """A gateway to which each of `count` callers has come once, and what it was like: idle and after, resident bytes, CPU."""
    gateway = c.ours(crowd.rig, crowd.data, "HS256")
    loads.http1(crowd.rig, gateway, PUBLIC, 5000)
    idle = gateway.rss_bytes()
    come = loads.measured(gateway, loads.http1, crowd.rig, gateway, path, count, lines)
    after = gateway.rss_bytes()
    return gateway, {"idle": idle, "after": after, "added": after - idle, "come": come}


def memory(crowd, sizes, again=100_000, most=300_000):
    """Resident memory and hit rate when `sizes` different callers come, by chance, with the cache as shipped (100,000)."""
    found = {}
    for size in sizes:
        chance = random.Random(size)
        first = range(size) if size <= most else chance.sample(range(size), most)
        lines = crowd.lines(f"first-{size}", first)
        then = crowd.lines(f"then-{size}", (chance.randrange(size) for _ in range(min(again, max(size, 1000)))))
        uncounted, known = filled(crowd, UNCOUNTED, len(first), lines)
        uncounted.stop()
        gateway, full = filled(crowd, COUNTED, len(first), lines)
        come = full.pop("come")
        before = [counter(gateway, f"portcullis_credential_cache_{kind}_total") for kind in ("hits", "misses")]
        back = loads.measured(gateway, loads.http1, crowd.rig, gateway, COUNTED, again, then)
        after = [counter(gateway, f"portcullis_credential_cache_{kind}_total") for kind in ("hits", "misses")]
        hits, misses = (b - a for a, b in zip(before, after, strict=True))
        found[str(size)] = full | {
            "callers_first": len(first), "added_uncounted": known["added"], "end": gateway.rss_bytes(),
            "hit_rate": hits / max(1, hits + misses), "cold_cpu_us": come["cpu_us"], "mixed_cpu_us": back["cpu_us"],
            "errors": come["errors"] + back["errors"],
        }  # fmt: skip
        say(f"{size:,} callers: {full['added'] / 2**20:.1f} MiB more, hit rate {found[str(size)]['hit_rate']:.3f}")
        gateway.stop()
        lines.unlink(), then.unlink()
    return found


def start(crowd, times=3):
    """Seconds from the start of the process to the line that says it is ready, and what is resident when nothing happens then."""

    def once(data, rest=0.0):
        began = time.monotonic()
        gateway = c.ours(crowd.rig, data, "HS256")
        took = time.monotonic() - began
        time.sleep(rest)
        resident = gateway.rss_bytes()
        gateway.stop()
        return took, resident

    empty = crowd.rig.folder / "data-empty"
    once(empty)
    at_rest = [once(empty, rest=5) for _ in range(times)]
    return {
        "accounts": crowd.count,
        "seconds": [once(crowd.data)[0] for _ in range(times)],
        "seconds_empty": [took for took, _ in at_rest],
        "idle": [resident for _, resident in at_rest],
    }


# -- a storm of logins -------------------------------------------------------------------------------------------------


class Logins:
    """Clients that log in again as soon as they are answered."""

    def __init__(self, address, clients):
        self.address, self.done, self.failed, self.over = address, 0, 0, threading.Event()
        self.threads = [threading.Thread(target=self.login, args=(number,), daemon=True) for number in range(clients)]

    def login(self, number):
        while not self.over.is_set():
            try:
                post(self.address, "/auth/login", {"email": f"storm{number}@bench.example", "password": PASSWORD})
                self.done += 1
            except (Broken, OSError):
                self.failed += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        time.sleep(1)  # every client has its connection and waits for its first hash
        self.done, self.began = 0, time.monotonic()
        return self

    def __exit__(self, *_):
        self.rate = self.done / (time.monotonic() - self.began)
        self.over.set()
        for thread in self.threads:
            thread.join(30)


def storm(field, place, clients=50, rate=2000, seconds=5, times=7):
    """Proxied requests on a schedule, without and with `clients` that log in without pause; Argon2 as shipped."""
    people = field.callers["EdDSA"]
    gateway = c.ours(field.rig, field.rig.copy(people.data), edits=c.FULL_COST, place=place)
    for number in range(clients):
        register(gateway.http, f"storm{number}")

    def proxied():
        return loads.measured(
            gateway, loads.http1, field.rig, gateway, COUNTED, rate * seconds, people.lines, rate=rate
        )

    proxied()
    calm, stormy, logins = [], [], []
    for _ in range(times):
        calm.append(proxied())
        with Logins(gateway.http, clients) as storming:
            stormy.append(proxied())
        logins.append(storming.rate)
    gateway.stop()
    return {
        "clients": clients, "rate": rate, "calm": calm, "storm": stormy, "logins_per_second": logins,
        "ratio": rounds.paired(stormy, calm, "p99_us"),
    }  # fmt: skip


# -- reloads -----------------------------------------------------------------------------------------------------------


def reload(field, requests, times=9, every=0.1):
    """The same load, without and with a reload each tenth of a second."""
    people, server = field.callers["EdDSA"], None
    server = c.ours(field.rig, field.rig.copy(people.data))

    def burst():
        return loads.measured(server, loads.http1, field.rig, server, COUNTED, requests, people.lines)

    def hang_up(over):
        while not over.wait(every):
            os.kill(server.process.pid, signal.SIGHUP)

    burst()
    calm, busy, reloads = [], [], []
    for _ in range(times):
        calm.append(burst())
        over, before = threading.Event(), counter(server, "portcullis_config_reloads_total")
        thread = threading.Thread(target=hang_up, args=(over,))
        thread.start()
        busy.append(burst())
        over.set()
        thread.join()
        reloads.append(counter(server, "portcullis_config_reloads_total") - before)
    server.stop()
    spent = [
        (b["cpu_us"] - a["cpu_us"]) * requests / 1000 / max(1, n) for a, b, n in zip(calm, busy, reloads, strict=True)
    ]
    return {
        "reloads": reloads, "calm": calm, "reloading": busy, "ms_per_reload": statistics.median(spent), "ms_lowest": min(spent), "ms_highest": max(spent),
        "errors": sum(report["errors"] for report in busy), "p99_ratio": rounds.paired(busy, calm, "p99_us"),
    }  # fmt: skip


# -- growth ------------------------------------------------------------------------------------------------------------

WINDOWS = ("second", "10s", "30s", "minute", "5m", "30m", "hour", "day")


def routes_text(count):
    one = '[[route]]\nname = "r{0}"\npaths = ["/r{0}/*"]\nupstream = "bench"\n'
    return "".join(one.format(n) for n in range(count))


def roles_text(count):
    lines = []
    for n in range(count):
        held = ", ".join(f'"area{n}:action{k}"' for k in range(10))
        lines.append(f"[role.r{n}]\npermissions = [{held}]\n")
    return "\n".join(lines)


def growth(field, counts_of_routes=(10, 100, 1000, 10_000)):
    """Shots of gateways that differ in one number each: curve -> number -> shot."""
    rig, people = field.rig, field.callers["EdDSA"]
    curves = {"routes": {}, "keys": {}, "roles": {}, "limits": {}}

    def shot(curve, number, server, path, lines, **more):
        case = Case(f"{curve}_{number}", f"{number:,} {curve}", beside=curve)
        curves[curve][number] = Shot(
            case, c.OURS, server, lambda n, turns: loads.http1_in_turns(turns, rig, server, path, n, lines, **more),
            number if curve in ("routes", "keys") else len(people.tokens),
        )  # fmt: skip

    for count in counts_of_routes:
        server = c.ours(rig, rig.copy(people.data), more={"routes.toml": "\n" + routes_text(count)})
        shot("routes", count, server, "/r{}/x", people.lines, paths=count)
    lines = field.key_lines.read_text().splitlines(keepends=True)
    keyed = c.ours(rig, rig.copy(field.key_data))
    for count in (10, 100, 1000, 10_000):
        path = rig.folder / f"keys-{count}"
        path.write_text("".join(lines[:count]))
        shot("keys", min(count, len(lines)), keyed, COUNTED, path)
    for count in (10, 100, 1000):
        server = c.ours(rig, rig.copy(people.data), more={"roles.toml": "\n" + roles_text(count)})
        shot("roles", count, server, COUNTED, people.lines)
    plain = 'limits = [{ per = "user", requests = "1000000/minute", concurrent = 20 }]'
    for count in (0, 1, 2, 4, 8):
        listed = ", ".join(f'"{100_000_000}/{window}"' for window in WINDOWS[:count])
        limits = f'limits = [{{ per = "user", requests = [{listed}] }}]' if count else "limits = []"
        server = c.ours(rig, rig.copy(people.data), edits=[("tiers.toml", plain, limits)])
        shot("limits", count, server, COUNTED, people.lines)
    return curves


def grow(curves, times, requests):
    """All of them, interleaved; curve -> number -> summary, and each ÷ the first of its curve."""
    shots = [shot for curve in curves.values() for shot in curve.values()]
    reports = rounds.fire(shots, times, requests, seed=2)
    found = {}
    for name, curve in curves.items():
        first = reports.get((next(iter(curve.values())).case.name, c.OURS))
        found[name] = {}
        for number, shot in curve.items():
            if (shot.case.name, c.OURS) not in reports:
                raise Broken(f"{shot.case.title}: broke while it was measured")
            own = reports[shot.case.name, c.OURS]
            found[name][str(number)] = rounds.summary(own) | {"ratio": rounds.paired(own, first), "rounds": own}
    for shot in shots:
        shot.server.stop()
    return found
