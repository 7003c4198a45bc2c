"""Who is measured at what. A shot is one contender at one case: something that can be fired again in every round."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial

from . import contenders as c
from . import loads
from .credentials import b64, claims_of, seed_keys, seed_people
from .processes import Broken, Server, say
from .rig import ALGORITHMS, Rig, get, write_lines

COUNTED, PUBLIC = "/counted/x", "/public/x"


@dataclass(frozen=True)
class Case:
    """What is asked of a contender."""

    name: str
    title: str
    protocol: str = "h1"
    beside: str | None = None  # another case that it is divided by, and is measured next to

    @property
    def group(self):
        return self.beside or self.name


CASES = [
    Case("pass", "Pass-through, a body of 2 bytes"),
    Case("pass_10k", "Pass-through, a body of 10 KB"),
    *(Case(f"jwt_{alg.lower()}", f"JWT {alg}, limit of each user, identity headers") for alg in ALGORITHMS),
    Case("key", "API key, one of 10,000, limit of each user"),
    Case("h2_pass", "HTTP/2 (clear text), pass-through", "h2"),
    Case("h2_jwt", "HTTP/2 (clear text), JWT RS256, limit of each user, identity headers", "h2"),
    Case("tls_pass", "TLS, HTTP/1.1, pass-through", "tls"),
    Case("tls_jwt", "TLS, HTTP/1.1, JWT RS256, limit of each user, identity headers", "tls"),
    Case("jwt_logged", "JWT EdDSA as above, and the access log to a file", beside="jwt_eddsa"),
    Case("refusal_401", "Refused: no credential (401)", beside="jwt_rs256"),
    Case("refusal_403", "Refused: a role is missing (403)", beside="jwt_rs256"),
    Case("refusal_429", "Refused: the user's limit is used up (429)", beside="jwt_rs256"),
]
QUICK = {
    "jwt_rs256": None,
    "jwt_hs256": (c.BARE, c.OURS, c.HAPROXY),
    "key": (c.OURS, c.ENVOY),
    "refusal_401": None,
    "refusal_429": None,
}


@dataclass
class Shot:
    """One contender at one case."""

    case: Case
    contender: str
    server: Server
    fire: Callable[[int, int], Generator]  # of so many requests in so many turns; its return value is the report
    callers: int = 1000


@dataclass
class Field:
    """What the cases need: people of each algorithm, keys, and the rig."""

    rig: Rig
    callers: dict
    keys: list
    key_lines: object
    key_data: object


def peers_of(field, algorithm):
    """(name, start) of whoever can verify tokens of `algorithm` here."""
    tools = field.rig.tools
    known = [
        # It knows no EdDSA.
        (c.HAPROXY, c.haproxy_jwt, tools.haproxy and algorithm != "EdDSA"),
        (c.ENVOY, c.envoy_jwt, tools.envoy),
        (c.UNCACHED, c.envoy_uncached, tools.envoy and algorithm == "RS256"),
        # It knows no ES256 and no EdDSA, and takes HS256 from no token whose type is at+jwt (RFC 9068).
        (c.OPENIDC, c.nginx_openidc, tools.lua and tools.openidc and algorithm == "RS256"),
        (c.EXPERT, c.nginx_expert, tools.lua),
    ]
    return [(name, start) for name, start, can in known if can]


class Lineup:
    """Starts contenders, each process once however many cases share it, and collects their shots."""

    def __init__(self, field, wanted):
        self.field, self.rig, self.wanted = field, field.rig, wanted
        self.cases, self.started, self.shots = {case.name: case for case in CASES}, {}, []
        self.baselines = {protocol: partial(c.bare, self.rig, protocol) for protocol in ("h1", "h2", "tls")}
        # With TLS for the algorithm that is measured with it.
        self.gateways = {
            name: asking(partial(gateway, tls=name == "RS256"), self.rig, people)
            for name, people in field.callers.items()
        }

    def add(self, name, contender, start, path, lines, expect=200):
        """A shot, if it is wanted and can be had; else a line that says why not."""
        case, tools = self.cases[name], self.rig.tools
        if self.wanted is not None and (name not in self.wanted or contender not in (self.wanted[name] or [contender])):
            return
        if (case.protocol == "h2" and not tools.h2load) or (case.protocol == "tls" and not tools.wrk):
            return
        try:
            server = self.once(start)
        except Broken as broken:
            say(f"SKIPPED {contender} at {name}: {broken}")
            tools.skipped[f"{contender} at {name}"] = str(broken)
            return
        other = {"h2": loads.Http2(), "tls": loads.tls}.get(case.protocol)

        def fire(requests, turns):
            if other:
                return loads.at_once(server, other, self.rig, server, path, requests, lines)
            return loads.http1_in_turns(turns, self.rig, server, path, requests, lines, expect)

        callers = len(self.field.keys) if name == "key" else len(self.field.callers["RS256"].tokens)
        self.shots.append(Shot(case, contender, server, fire, callers))

    def once(self, start):
        if start not in self.started:
            self.started[start] = start()
        return self.started[start]

    def pass_through(self):
        rig, tools = self.rig, self.rig.tools
        plain = [(c.NGINX, partial(c.nginx, rig))]
        plain += [(c.HAPROXY, partial(c.haproxy, rig))] if tools.haproxy else []
        plain += [(c.ENVOY, partial(c.envoy, rig))] if tools.envoy else []
        ours = self.gateways["RS256"]
        for name, path in (("pass", PUBLIC), ("pass_10k", "/public/10k"), ("h2_pass", PUBLIC), ("tls_pass", PUBLIC)):
            self.add(name, c.BARE, self.baselines[self.cases[name].protocol], path, None)
            self.add(name, c.OURS, ours, path, None)
            for contender, start in plain:
                self.add(name, contender, start, path, None)

    def tokens(self, algorithm):
        people = self.field.callers[algorithm]
        names = [f"jwt_{algorithm.lower()}"] + (["h2_jwt", "tls_jwt"] if algorithm == "RS256" else [])
        peers = [(peer, asking(start, self.rig, people)) for peer, start in peers_of(self.field, algorithm)]
        for name in names:
            self.add(name, c.BARE, self.baselines[self.cases[name].protocol], COUNTED, people.lines)
            self.add(name, c.OURS, self.gateways[algorithm], COUNTED, people.lines)
            for peer, start in peers:
                if name.startswith("jwt_") or peer not in (c.OPENIDC, c.UNCACHED):
                    self.add(name, peer, start, COUNTED, people.lines)

    def keys(self):
        tools, field = self.rig.tools, self.field
        starts = [
            (c.OURS, lambda: c.ours(self.rig, field.key_data)),
            (c.NGINX, lambda: c.nginx_map(self.rig, field.keys)),
        ]
        starts += [(c.HAPROXY, lambda: c.haproxy_map(self.rig, field.keys))] if tools.haproxy else []
        starts += [(c.ENVOY, lambda: c.envoy_key(self.rig, field.keys))] if tools.envoy else []
        for contender, start in starts:
            self.add("key", contender, lambda start=start: asked_key(start(), field.keys), COUNTED, field.key_lines)

    def refusals(self):
        people, ours = self.field.callers["RS256"], self.gateways["RS256"]
        lines = people.lines

        def used_up():
            server = self.once(ours)
            loads.http1(self.rig, server, "/exhausted/x", len(people.tokens), lines)
            return server

        self.add("refusal_401", c.OURS, ours, COUNTED, None, 401)
        self.add("refusal_403", c.OURS, ours, "/forbidden/x", lines, 403)
        self.add("refusal_429", c.OURS, used_up, "/exhausted/x", lines, 429)

    def logged(self):
        """A process of its own, on a copy of the data: the log is the only difference."""
        people, log = self.field.callers["EdDSA"], self.rig.folder / "access.log"
        start = lambda: c.ours(self.rig, self.rig.copy(people.data), access_log=log)  # noqa: E731
        self.add("jwt_logged", c.OURS, start, COUNTED, people.lines)


def shots(field, wanted=None):
    """Starts every contender and asks each the questions that its cases depend on; all shots that may be fired."""
    lineup = Lineup(field, wanted)
    lineup.pass_through()
    for algorithm in field.callers:
        lineup.tokens(algorithm)
    lineup.keys()
    lineup.refusals()
    if "EdDSA" in field.callers:
        lineup.logged()
    return lineup.shots


# -- questions ---------------------------------------------------------------------------------------------------------


def seen(address, headers):
    """Status, and what the service behind saw."""
    return get(address, "/counted/seen", headers)


def must(what, holds):
    if not holds:
        raise Broken(what)


def gateway(rig, people, tls):
    return c.ours(rig, people.data, people.algorithm, tls=tls)


def asking(start, rig, people):
    """How to start a contender that is not measured unless it answers well."""
    return lambda: asked(start(rig, people), people)


def asked(server, people):
    """A contender that verifies tokens refuses what it must, and says who it is that calls. Or it is not measured."""
    token = people.tokens[0]
    head, body, signature = token.split(".")
    status, text = seen(server.http, {"Authorization": f"Bearer {token}", "X-User-Id": "somebody-else"})
    must(f"a good token is answered {status}", status == 200)
    must(f"the service is not told who calls: {text}", f"user={claims_of(token)['sub']} " in text)
    forged = f"{head}.{body}.{signature[::-1]}"
    unsigned = b64(b'{"alg":"none"}') + f".{body}."
    for what, credential in (("absent", None), ("forged", forged), ("unsigned", unsigned)):
        status, _ = seen(server.http, {"Authorization": f"Bearer {credential}"} if credential else {})
        must(f"a token that is {what} is answered {status}", status in (401, 403))
    return server


def asked_key(server, keys):
    status, text = seen(server.http, {"X-Api-Key": keys[0][0], "X-User-Id": "somebody-else"})
    must(f"a good key is answered {status}", status == 200)
    must(f"the service is not told who calls: {text}", f"user={keys[0][1]} " in text)
    status, _ = seen(server.http, {"X-Api-Key": keys[0][0][:-1]})
    must(f"a wrong key is answered {status}", status in (401, 403))
    return server


def limited(field):
    """Does every peer count each user by himself? Each is started once with a limit of 3 and asked until it says 429."""
    tools, people, keys, found = field.rig.tools, field.callers["RS256"], field.keys, {}
    starts = {
        f"{name} (JWT)": (lambda start=start: start(field.rig, people, 3)) for name, start in peers_of(field, "RS256")
    }
    starts[f"{c.NGINX} (key)"] = lambda: c.nginx_map(field.rig, keys, 3)
    if tools.haproxy:
        starts[f"{c.HAPROXY} (key)"] = lambda: c.haproxy_map(field.rig, keys, 3)
    if tools.envoy:
        starts[f"{c.ENVOY} (key)"] = lambda: c.envoy_key(field.rig, keys, 3)
    for name, start in starts.items():
        server = start()
        by_key = name.endswith("(key)")
        mine = {"X-Api-Key": keys[0][0]} if by_key else {"Authorization": f"Bearer {people.tokens[0]}"}
        other = {"X-Api-Key": keys[1][0]} if by_key else {"Authorization": f"Bearer {people.tokens[1]}"}
        statuses = [seen(server.http, mine)[0] for _ in range(12)]
        found[name] = statuses[0] == 200 and statuses[-1] == 429 and seen(server.http, other)[0] == 200
        if not found[name]:
            say(f"{name} does not count each user: {statuses}")
        server.stop()
    return found


def make_field(rig, algorithms, people=1000, keys=10_000):
    """Registers people for each algorithm, and seeds keys."""
    callers = {}
    for algorithm in algorithms:
        say(f"registering {people:,} people with tokens of {algorithm}")
        callers[algorithm] = rig.make_callers(algorithm, people, lambda data, a=algorithm: c.ours(rig, data, a))
    key_data = rig.folder / "data-keys"
    c.ours(rig, key_data).stop()
    seed_people(key_data, range(people))
    made = seed_keys(key_data, range(keys), people)
    return Field(
        rig, callers, made, write_lines(rig.folder / "keys", [f"x-api-key: {key}" for key, _ in made]), key_data
    )
