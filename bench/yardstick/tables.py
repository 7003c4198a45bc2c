"""results.json as tables of Markdown, line by line."""

import statistics

from . import contenders as c
from .cases import CASES
from .ratios import TARGETS, also, verdict
from .streams import BUSY, CHUNK_BYTES, TARGET_US

TITLES = {case.name: case.title for case in CASES}


def spread(found, digits=2):
    return f"{found['median']:.{digits}f} ({found['low']:.{digits}f}–{found['high']:.{digits}f})"


def costs(row, digits=1):
    return f"{row['cpu_us']:.{digits}f} ({row['cpu_us_low']:.{digits}f}–{row['cpu_us_high']:.{digits}f})"


def mib(count):
    return f"{count / 2**20:.1f}"


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def head(*titles):
    yield row(*titles)
    yield "|" + "---|" * len(titles)


# -- beside the others -------------------------------------------------------------------------------------------------


def ratios(results):
    yield from head("", "measured (lowest–highest round)", "target", "stretch", "")
    named = ((*told, results["ratios_detail"][name]) for name, told in TARGETS.items())
    for what, target, stretch, found in (*named, *also(results)):
        aims = (target, "" if stretch is None else stretch)
        if "median" not in found:
            yield row(what, f"not measured: {found['reason']}", *aims, "")
            continue
        peer = found.get("against", c.OURS)
        told = spread(found) + (f", {peer}" if peer != c.OURS else "")
        if found is results["ratios_detail"]["rs256_vs_best_peer"] and "openidc" in results["skipped"]:
            told += f"; {c.OPENIDC}, which might be better, could not be had"
        yield row(what, told, *aims, verdict(found, target, stretch))


def case(results, name):
    rows = results["cases"][name]
    ours = rows.get(c.OURS, {}).get("rounds")
    yield f"**{TITLES[name]}**\n"
    titles = ("CPU µs per request (rounds)", "requests/s", "p50 µs", "p99 µs", "MiB", "errors", "ours ÷ it")
    yield from head("", *titles)
    for contender, shot in sorted(rows.items(), key=lambda pair: pair[1]["cpu_us"]):
        ratio = "1"
        if contender != c.OURS and ours:
            pairs = zip(ours, shot["rounds"], strict=True)
            ratio = f"{statistics.median(a['cpu_us'] / b['cpu_us'] for a, b in pairs):.2f}"
        figures = (f"{shot[figure]:,.0f}" for figure in ("rps", "p50_us", "p99_us"))
        shown = f"**{contender}**" if contender == c.OURS else contender
        yield row(shown, costs(shot), *figures, mib(shot["rss"]), shot["errors"], ratio)
    yield ""


# -- other cuts --------------------------------------------------------------------------------------------------------


def admit(found):
    yield "### `admit` alone\n"
    yield "The door's own function, with a token in its cache, 100,000 times on one request, and each step by itself: caches are as warm as can"
    yield "be, so that what `admit` costs among other work is more. `forward` and those after it come when it has let a request in.\n"
    yield from head("", "ns")
    yield row("admit", f"{found['median'] * 1000:,.0f} ({found['low'] * 1000:,.0f}–{found['high'] * 1000:,.0f})")
    for step, nanoseconds in found["steps"].items():
        yield row(step, f"{nanoseconds:,.0f}")
    yield ""


def cold(found):
    yield "### Cold\n\nEvery token unseen: its signature is checked, its account and session are looked up in SQLite.\n"
    yield from head("", "CPU µs per request (rounds)")
    for algorithm, shot in found.items():
        yield row(algorithm, costs(shot, 0))
    yield "\nHAProxy has no cache, so that its figures above are those of unseen tokens, as are those of Envoy with its cache off.\n"


def memory(found):
    yield "### Memory and hit rate\n"
    yield "The cache as shipped, 100,000 entries; tokens HS256. Each of `first` callers comes once; then come 100,000 requests of callers"
    yield "by chance, whose hit rate is told. The target for 100,000 is 120 MB more at most, the stretch 80 MB. Beside it what they add on a route"
    yield "without limits, where nothing is kept of them but who they are and our word for the upstream.\n"
    yield from head(
        "callers", "first", "MiB idle", "MiB more", "without limits", "MiB at the end", "hit rate", "CPU µs, first", "CPU µs, then"
    )
    for size, one in found.items():
        # What was not measured yet when results.json was written is no figure.
        memories = (mib(one[name]) if name in one else "–" for name in ("idle", "added", "added_uncounted", "end"))
        spent = (f"{one[name]:.0f}" for name in ("cold_cpu_us", "mixed_cpu_us"))
        yield row(f"{int(size):,}", f"{one['callers_first']:,}", *memories, f"{one['hit_rate']:.3f}", *spent)
    yield ""


def storm(found):
    yield "### A storm of logins\n"
    yield "Argon2id as shipped (19 MiB, two passes). Proxied requests come on a schedule and count from when they were due. One core:"
    yield "everything of the gateway is on core 0, hashing too. Both cores: only load and upstream are pinned.\n"
    yield from head("", "clients", "logins/s", "requests/s", "p99 µs without", "p99 µs with", "× (rounds)", "errors")
    for name, one in found.items():
        p99 = (f"{statistics.median(report['p99_us'] for report in one[kind]):,.0f}" for kind in ("calm", "storm"))
        errors = sum(report["errors"] for report in one["storm"])
        logins = f"{statistics.median(one['logins_per_second']):.0f}"
        yield row(name, one["clients"], logins, f"{one['rate']:,}", *p99, spread(one["ratio"]), errors)
    yield ""


def start(found):
    full, empty = (statistics.median(found[name]) for name in ("seconds", "seconds_empty"))
    yield "### Start\n"
    yield f"From the start of the process to the line that says ready: {full:.2f} s with {found['accounts']:,} accounts in SQLite,"
    yield f"{empty:.2f} s with none.\n"


def reload(found):
    told = f"{found['ms_per_reload']:.1f} ms"
    if "ms_lowest" in found:
        told += f" ({found['ms_lowest']:.1f} to {found['ms_highest']:.1f})"
    yield "### Reloads under load\n"
    yield f"SIGHUP ten times a second under full load, {sum(found['reloads']):.0f} reloads in all: {told} of CPU each,"
    yield f"p99 × {spread(found['p99_ratio'])}, {found['errors']} errors.\n"


def growth(found):
    yield "### Growth\n\nCPU µs per request, and ÷ the first of its row. Requests go to all routes, or come from all keys, in turn.\n"
    yield from head("", "")
    for name, curve in found.items():
        told = (f"{int(n):,}: {one['cpu_us']:.1f} (× {one['ratio']['median']:.2f})" for n, one in curve.items())
        yield row(name, " · ".join(told))
    yield ""


def chunks(summary):
    """A summary of bench/yardstick/streams.py."""
    first_byte = ("first_byte_p50_us", "first_byte_p90_us", "first_byte_p99_us")
    yield from head("", "CPU µs per chunk", "time to the first byte, median µs", "p90", "p99", "of its core", "client and upstream, of theirs")
    for kind, name in (("bare", "bare Pingora"), ("gateway", "the door: JWT, limits counted")):
        one = summary[kind]
        # What was not looked at yet when streams.json was written is no figure.
        cores = (f"{one[field] * 100:.0f} %" if field in one else "–" for field in ("core", "load_core"))
        yield row(name, f"{one['cpu_us']:.2f}", *(f"{one[field]:.0f}" for field in first_byte), *cores)
    yield f"\nA chunk costs {summary['ratio']:.2f} times what it costs the bare proxy. The first byte comes {summary['later_us']:.0f} µs later at the median"
    met = "met" if summary["later_us"] <= TARGET_US else "**missed**"
    yield f"(from {summary['later_us_low']:.0f} to {summary['later_us_high']:.0f} in single rounds; target {TARGET_US} or fewer: {met}).\n"
    if max(one.get(field, 0) for one in (summary["bare"], summary["gateway"]) for field in ("core", "load_core")) > BUSY:
        yield f"A core was busy for more than {BUSY * 100:.0f} % of the time: the first byte waited mostly for chunks of other streams.\n"


def played(found):
    plan = found["plan"]
    read = statistics.median(r["arrivals"] / r["events"] for m in found["measured"].values() for r in m["rounds"])
    return f"""{plan['streams']:,} streams of {plan['chunks']:,} chunks of {CHUNK_BYTES} bytes through each, {plan['at_once']:,} at a time, in {plan['rounds']} rounds that take turns;
a chunk every {plan['pace_ms']} ms on each stream, up to {plan['at_once'] * 1000 // plan['pace_ms']:,} a second in all, the first one with the head and at once; each stream on a connection of its own,
the first {plan['at_once']:,} opened over {plan['spread_ms'] / 1000:g} s and each of the others when one ends; {plan['callers']:,} different accounts, whose tokens have been seen before. {read:.2f} reads for each chunk at the client: were it much less, many would have crossed in one."""


def streams(found):
    yield "### Event streams\n"
    yield from chunks(found["summary"])
    yield f"{played(found)} The long form is `make bench-streams`; the section below says whether it is of that one.\n"


CUTS = {
    "admit": admit, "cold": cold, "memory": memory, "storm": storm, "start": start, "reload": reload, "growth": growth,
    "streams": streams,
}  # fmt: skip


def cuts(found):
    for name, told in CUTS.items():
        if name in found:
            yield from told(found[name])
