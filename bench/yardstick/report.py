"""results.json as a page, as pictures and as the block of README. Nothing is measured here, and no figure is made up:
what is not in the results is said to be missing."""

import json
import statistics

from . import charts
from . import contenders as c
from .cases import CASES
from .ratios import TARGETS

CONFIGURED = {
    c.BARE: "Pingora 0.9.1 that forwards and nothing else; our profile, our allocator, our keep-alive (bench/src/bare.rs)",
    c.OURS: "bench/config: everything as shipped but one worker thread, access log off, and limits too high to be met",
    c.NGINX: "`keepalive` towards the upstream and HTTP/1.1; keys in a `map`, the user's limit by `limit_req` (bench/peers/nginx*.conf)",
    c.HAPROXY: "`http-reuse always`; `jwt_verify` with the algorithm pinned, issuer, audience and expiry checked; keys in a map; the user's limit in a stick table (bench/peers/haproxy*.cfg)",
    c.ENVOY: "`jwt_authn` with its cache on and room for 10,000, RBAC on a claim, `local_ratelimit` with a bucket for each user; `api_key_auth` (bench/peers/envoy*.yaml)",
    c.UNCACHED: "the same without `jwt_cache_config`, which is its default",
    c.OPENIDC: "`bearer_jwt_verify` with its own cache in shared memory, issuer, audience and expiry checked; `limit_req` (bench/peers/nginx-openidc.conf)",
    c.EXPERT: "verified claims in a Lua table, by the whole token; `limit_req`. No revocation, no account facts, no shared limits (bench/peers/claims.lua)",
}
TITLES = {case.name: case.title for case in CASES}


def spread(found, digits=2):
    return f"{found['median']:.{digits}f} ({found['low']:.{digits}f}–{found['high']:.{digits}f})"


def mib(count):
    return f"{count / 2**20:.1f}"


# -- tables ------------------------------------------------------------------------------------------------------------


def ratio_table(results):
    yield "| | measured (lowest–highest round) | target | stretch | |"
    yield "|---|---|---|---|---|"
    for name, (what, target, stretch) in TARGETS.items():
        found = results["ratios_detail"][name]
        if "median" not in found:
            yield f"| {what} | not measured: {found['reason']} | {target} | {stretch} | |"
            continue
        verdict = "stretch met" if found["median"] <= stretch else "met" if found["median"] <= target else "**missed**"
        other = found.get("against") or ""
        shown = f" vs {other}" if other and other != c.OURS else ""
        yield f"| {what} | {spread(found)}{shown} | {target} | {stretch} | {verdict} |"


def case_table(results, name):
    rows = results["cases"][name]
    ours = rows.get(c.OURS, {}).get("rounds")
    yield f"**{TITLES[name]}**\n"
    yield "| | CPU µs per request (rounds) | requests/s | p50 µs | p99 µs | MiB | errors | ours ÷ it |"
    yield "|---|---|---|---|---|---|---|---|"
    for contender, row in sorted(rows.items(), key=lambda pair: pair[1]["cpu_us"]):
        ratio = "1"
        if contender != c.OURS and ours:
            pairs = zip(ours, row["rounds"], strict=True)
            ratio = f"{statistics.median(a['cpu_us'] / b['cpu_us'] for a, b in pairs):.2f}"
        cost = f"{row['cpu_us']:.1f} ({row['cpu_us_low']:.1f}–{row['cpu_us_high']:.1f})"
        speed = f"{row['rps']:,.0f} | {row['p50_us']:,.0f} | {row['p99_us']:,.0f}"
        shown = f"**{contender}**" if contender == c.OURS else contender
        yield f"| {shown} | {cost} | {speed} | {mib(row['rss'])} | {row['errors']} | {ratio} |"
    yield ""


def cuts_told(cuts):
    if "cold" in cuts:
        yield "### Cold\n\nEvery token unseen: signature checked, account and session looked up in SQLite.\n"
        yield "| | CPU µs per request (rounds) |\n|---|---|"
        for algorithm, row in cuts["cold"].items():
            yield f"| {algorithm} | {row['cpu_us']:.0f} ({row['cpu_us_low']:.0f}–{row['cpu_us_high']:.0f}) |"
        yield "\nHAProxy has no cache, so its figures above are those of unseen tokens; so are those of Envoy with its cache off.\n"
    if "memory" in cuts:
        yield "### Memory and hit rate\n\nDifferent callers by chance; the cache as shipped, 100,000 entries. Tokens HS256.\n"
        yield "| callers | that came first | MiB idle | MiB more afterwards | MiB at the end | hit rate then | CPU µs unseen | CPU µs then |"
        yield "|---|---|---|---|---|---|---|---|"
        for size, row in cuts["memory"].items():
            told = f"{mib(row['idle'])} | {mib(row['added'])} | {mib(row['end'])} | {row['hit_rate']:.3f}"
            costs = f"{row['cold_cpu_us']:.0f} | {row['mixed_cpu_us']:.0f}"
            yield f"| {int(size):,} | {row['callers_first']:,} | {told} | {costs} |"
        yield ""
    if "storm" in cuts:
        yield "### A storm of logins\n"
        yield "Argon2id as shipped (19 MiB, two passes). Proxied requests come on a schedule and count from when they were due."
        yield "One core: everything of the gateway on core 0, hashes too. Both cores: nothing is pinned but load and upstream.\n"
        yield "| | clients | logins/s | requests/s | p99 µs without | p99 µs with | × (rounds) | errors |\n|---|---|---|---|---|---|---|---|"
        for name, storm in cuts["storm"].items():
            p99 = [statistics.median(report["p99_us"] for report in storm[kind]) for kind in ("calm", "storm")]
            errors = sum(report["errors"] for report in storm["storm"])
            rate = statistics.median(storm["logins_per_second"])
            yield f"| {name} | {storm['clients']} | {rate:.0f} | {storm['rate']:,} | {p99[0]:,.0f} | {p99[1]:,.0f} | {spread(storm['ratio'])} | {errors} |"
        yield ""
    if "start" in cuts:
        row = cuts["start"]
        yield "### Start\n"
        yield f"From the start of the process to the line that says ready: {statistics.median(row['seconds']):.2f} s with {row['accounts']:,} accounts in SQLite, {statistics.median(row['seconds_empty']):.2f} s with none.\n"
    if "reload" in cuts:
        row = cuts["reload"]
        yield "### Reloads under load\n"
        yield f"SIGHUP ten times a second under full load, {sum(row['reloads']):.0f} reloads in all: {row['ms_per_reload']:.1f} ms of CPU each, p99 × {spread(row['p99_ratio'])}, {row['errors']} errors.\n"
    if "growth" in cuts:
        yield "### Growth\n\nCPU µs per request, and ÷ the first of its row. Requests go to all routes, or come from all keys, in turn.\n"
        yield "| | |\n|---|---|"
        for name, curve in cuts["growth"].items():
            told = " · ".join(f"{int(n):,}: {row['cpu_us']:.1f} (× {row['ratio']['median']:.2f})" for n, row in curve.items())
            yield f"| {name} | {told} |"
        yield ""


def method(results):
    where, plan, versions = results["machine"], results["plan"], results["versions"]
    known = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
    yield "## Method and its limits\n"
    yield f"**Machine.** {where['cpu']}, {where['cores']} cores, {where['memory_gib']} GiB, Linux {where['kernel']}, {where['rustc']}; {where['date']}, commit {where['commit']}, load average {where['load_average_before']:.2f} before the start.\n"
    yield f"**Versions.** {known}.\n"
    yield f"""**Method.** {plan['rounds']} rounds of {plan['requests']:,} requests of each contender at each case, shuffled within a round. One worker thread
each, pinned to core 0; load and upstream (nginx, one worker) on core 1; loopback; connections kept alive on both sides. CPU is that of all
threads and processes of a contender, user and system, by the kernel's own clocks (clock_getcpuclockid), divided by the requests. Costs
are medians of rounds; a ratio is the median of the ratios within each round, with the lowest and the highest. Memory is the
proportional set size after the last round. {plan['callers']:,} people, the same tokens for all contenders; the keys are 10,000. Tokens are made by the
gateway, and peers are given its public key, or the shared secret.

HTTP/1.1: our own load, 64 connections, closed loop, the next caller with each request. TLS: wrk, the same by a Lua script; handshakes are
counted in. HTTP/2: sixteen h2load with a connection of four streams and one caller each, other callers in each round, since h2load knows
one header for a run; HPACK then sends the token as an index, as for a client that keeps its connection.

Before it is measured, each contender is asked: a good token must pass and the service must be told whose it is, whatever the client
claims; an absent, a forged and an unsigned one must be refused.

**Limits.** Latency is that of a saturated core, with connections queueing: it compares, it does not promise. One machine, loopback, small
answers: the network's share is smaller than in life. A contender that waits for load or upstream spends no CPU, so requests/s say less
than µs. The work is not the same: only ours looks at roles and tiers, revokes at once, counts in any window of 60 seconds, asserts the caller by a
signed token, and sends eight identity headers; the peers send one or two and know what the token says. Envoy's and nginx's buckets let
twice the limit through in the first minute.
"""
    if results.get("limits_proved"):
        proved = results["limits_proved"]
        bad = [name for name, good in proved.items() if not good]
        yield f"Each peer's limit was tried with 3 a minute: {'all count each user' if not bad else 'these do not count each user: ' + ', '.join(bad)}.\n"
    if results["skipped"]:
        yield "**Skipped.**\n"
        for name, why in results["skipped"].items():
            yield f"- {name}: {why.splitlines()[0]}"
        yield ""
    yield "**How each is configured**\n"
    for name, line in CONFIGURED.items():
        yield f"- {name}: {line}"


def page(results):
    yield "# What a request costs\n"
    yield "Written by `make bench`; every figure of every round is in results.json.\n"
    yield "![The targets](charts/targets.svg)\n"
    yield from ratio_table(results)
    yield "\n## Beside the others\n\n![CPU of a request with a token](charts/tokens.svg)\n"
    for name in results["cases"]:
        yield from case_table(results, name)
    if results["cuts"]:
        yield "## Other cuts\n"
        if "growth" in results["cuts"]:
            yield "![Growth](charts/growth.svg)\n"
        yield from cuts_told(results["cuts"])
    yield from method(results)


# -- pictures ----------------------------------------------------------------------------------------------------------


def group(results, name):
    rows = sorted(results["cases"][name].items(), key=lambda pair: pair[1]["cpu_us"])
    return TITLES[name], [(who, row["cpu_us"], row["cpu_us_low"], row["cpu_us_high"]) for who, row in rows]


def pictures(results):
    """File name -> SVG."""
    unit = "CPU µs per request, user and system, of the whole contender; the thin line spans the rounds. Less is better"
    found = {}
    tokens = [group(results, name) for name in results["cases"] if name.startswith("jwt_") or name == "key"]
    if tokens:
        found["tokens.svg"] = charts.bars("What a request costs, by who asks", unit, tokens)
    others = [group(results, name) for name in results["cases"] if name.startswith(("pass", "h2", "tls"))]
    if others:
        found["protocols.svg"] = charts.bars("What a request costs, by protocol", unit, others)
    rows = []
    for name, (_, target, stretch) in TARGETS.items():
        ratio = results["ratios_detail"][name]
        rows.append((name, ratio.get("median"), ratio.get("low"), ratio.get("high"), target, stretch))
    found["targets.svg"] = charts.targets("Ratios within one run, against their targets", "median of the rounds, and their span", rows)
    if "growth" in results["cuts"]:
        curves = {
            name: [(int(number), row["ratio"]["median"]) for number, row in curve.items()]
            for name, curve in results["cuts"]["growth"].items()
        }
        found["growth.svg"] = charts.lines("Cost as the configuration grows", "CPU per request ÷ that of the smallest", curves)
    return found


def write(results, folder):
    """RESULTS.md and charts beside results.json."""
    (folder / "RESULTS.md").write_text("\n".join(page(results)).rstrip() + "\n")
    (folder / "charts").mkdir(exist_ok=True)
    for name, picture in pictures(results).items():
        (folder / "charts" / name).write_text(picture)


# -- README ------------------------------------------------------------------------------------------------------------

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


def readme(results, path):
    """Replaces what is between the marks."""
    plan, where = results["plan"], results["machine"]
    lines = [
        f"One worker thread each, {where['cores']} cores, {plan['callers']:,} different callers, keep-alive, the same upstream; medians of {plan['rounds']} shuffled",
        "rounds on a noisy virtual machine ([method, limits and every figure](bench/RESULTS.md)). `make bench` measures it on yours.",
        "",
        "![What a request with a token costs](bench/charts/tokens.svg)",
        "",
        "![Ratios against their targets](bench/charts/targets.svg)",
        "",
        *ratio_table(results),
    ]
    text = path.read_text()
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    path.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")


def load(path):
    return json.loads(path.read_text())
