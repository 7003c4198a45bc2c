"""The eight numbers the project is judged by, each from one run, round by round; and why one is missing, if it is. And others that
have a target."""

import statistics

from . import contenders as c
from .rounds import paired

# name -> (what it is, target, stretch)
TARGETS = {
    "jwt_vs_bare": ("ours with JWT, the dearest algorithm ÷ bare Pingora, the same requests", 1.25, 1.12),
    "rs256_vs_best_peer": (
        "ours ÷ the best packaged peer that verifies RS256 with limits and identity headers",
        0.60,
        0.50,
    ),
    "es256_vs_best_peer": ("ours ÷ the best packaged peer, ES256", 0.50, 0.40),
    "hs256_vs_haproxy": ("ours ÷ HAProxy, HS256", 1.00, 0.85),
    "key_vs_envoy": ("ours ÷ Envoy, API key", 0.60, 0.50),
    "refusal_vs_pass": ("a refusal (401 or 429, the dearer) ÷ a pass", 0.60, 0.45),
    "login_storm_p99": ("p99 of proxied requests while 50 clients log in ÷ without them", 1.5, 1.2),
    "routes_10000_vs_10": ("10,000 routes ÷ 10 routes", 1.10, 1.03),
}


# So many of the rounds have to be on the median's side of a mark (method.md): all of three or four, four of five, six of seven.
AGREED = 0.8


def verdict(found, target, stretch):
    """What may be said of a figure: nothing is claimed that the rounds leave open."""
    rounds = found.get("rounds") or [found["median"]]

    def is_met(mark):
        return found["median"] <= mark

    def is_resolved(mark):
        return sum((one <= mark) == is_met(mark) for one in rounds) >= AGREED * len(rounds)

    if stretch is not None and is_met(stretch) and is_resolved(stretch):
        return "stretch met"
    word = "met" if is_met(target) else "**missed**"
    return word if is_resolved(target) else f"{word}, not resolved"


def cost(cases, case, contender):
    return cases.get(case, {}).get(contender, {}).get("rounds")


def divided(cases, one, other):
    """(case, contender) ÷ (case, contender), or a reason."""
    ours, theirs = cost(cases, *one), cost(cases, *other)
    for place, found in ((one, ours), (other, theirs)):
        if not found:
            return {"reason": f"{place[1]} was not measured at {place[0]}"}
    return paired(ours, theirs) | {"against": other[1]}


def dearest(found):
    """The highest of several, each with a name; a reason if there is none."""
    measured = {name: ratio for name, ratio in found.items() if "median" in ratio}
    if not measured:
        return next(iter(found.values()), {"reason": "nothing was measured"})
    name = max(measured, key=lambda name: measured[name]["median"])
    return measured[name] | {"of": name, "all": {each: ratio["median"] for each, ratio in measured.items()}}


def against_best_peer(cases, case):
    peers = {name: shot["cpu_us"] for name, shot in cases.get(case, {}).items() if name in c.PACKAGED}
    if not peers:
        return {"reason": "no peer that verifies such tokens could be had"}
    return divided(cases, (case, c.OURS), (case, min(peers, key=peers.get)))


def ratios(cases, cuts):
    """name -> median, lowest, highest, rounds; or name -> reason."""
    algorithms = [name for name in cases if name.startswith("jwt_") and c.BARE in cases[name]]
    passed = "jwt_rs256" if "jwt_rs256" in cases else "jwt_eddsa"
    refusals = [name for name in ("refusal_401", "refusal_429") if name in cases]
    storm = cuts.get("storm", {}).get("one core", {}).get("ratio")
    routes = cuts.get("growth", {}).get("routes", {}).get("10000", {}).get("ratio")
    return {
        "jwt_vs_bare": dearest({name: divided(cases, (name, c.OURS), (name, c.BARE)) for name in algorithms}),
        "rs256_vs_best_peer": against_best_peer(cases, "jwt_rs256"),
        "es256_vs_best_peer": against_best_peer(cases, "jwt_es256"),
        "hs256_vs_haproxy": divided(cases, ("jwt_hs256", c.OURS), ("jwt_hs256", c.HAPROXY)),
        "key_vs_envoy": divided(cases, ("key", c.OURS), ("key", c.ENVOY)),
        "refusal_vs_pass": dearest({name: divided(cases, (name, c.OURS), (passed, c.OURS)) for name in refusals}),
        "login_storm_p99": storm or {"reason": "the storm of logins was not part of this run"},
        "routes_10000_vs_10": routes or {"reason": "growth was not part of this run"},
    }


def also(results):
    """What else has a target: what it is, target, stretch, and what was found, or a reason."""
    cases, cuts = results["cases"], results["cuts"]
    admit = cuts.get("admit") or {"reason": "it was not part of this run"}
    yield "µs of `admit` alone, a cached JWT: from the parsed header to the permit, and everything given back", 3, 1.5, admit
    for case, what in (("h2_jwt", "HTTP/2"), ("tls_jwt", "TLS")):
        yield f"ours with JWT RS256 ÷ bare Pingora, both over {what}", 1.25, 1.12, divided(cases, (case, c.OURS), (case, c.BARE))
    storm = cuts.get("storm", {}).get("both cores", {}).get("ratio") or {"reason": "the storm of logins was not part of this run"}
    yield "p99 in a storm of 50 clients ÷ without, where hashing has both cores, those of load and upstream too", 1.5, 1.2, storm
    crowd = cuts.get("memory", {}).get("100000", {})
    yield "MB more with 100,000 cached callers and their limits", 120, 80, of_bytes([crowd.get("added")], 1e6)
    yield "bytes of a cached caller, where no limit counts", 1024, None, of_bytes([crowd.get("added_uncounted")], 100_000)
    yield "MB resident when nothing happens, five seconds after the start", 40, None, of_bytes(cuts.get("start", {}).get("idle", [None]), 1e6)


def of_bytes(measured, unit):
    """Bytes as a figure in `unit`; a reason if there are none."""
    if None in measured:
        return {"reason": "it was not part of this run"}
    told = [one / unit for one in measured]
    return {"median": statistics.median(told), "low": min(told), "high": max(told), "rounds": told}


def numbers(detail):
    """Just the medians; None where there is none."""
    return {name: round(found["median"], 3) if "median" in found else None for name, found in detail.items()}
