"""Who is measured at what. A shot is one contender at one case: something that can be fired again in every round."""

from collections.abc import Callable
from dataclasses import dataclass

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


CASES = [
    Case("pass", "Pass-through, a body of 2 bytes"),
    Case("pass_10k", "Pass-through, a body of 10 KB"),
    *(Case(f"jwt_{alg.lower()}", f"JWT {alg}, limit of each user, identity headers") for alg in ALGORITHMS),
    Case("key", "API key, one of 10,000, limit of each user"),
    Case("h2_pass", "HTTP/2 (clear text), pass-through", "h2"),
    Case("h2_jwt", "HTTP/2 (clear text), JWT RS256, limit of each user, identity headers", "h2"),
    Case("tls_pass", "TLS, HTTP/1.1, pass-through", "tls"),
    Case("tls_jwt", "TLS, HTTP/1.1, JWT RS256, limit of each user, identity headers", "tls"),
    Case("refusal_401", "Refused: no credential (401)"),
    Case("refusal_403", "Refused: a role is missing (403)"),
    Case("refusal_429", "Refused: the user's limit is used up (429)"),
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
    fire: Callable[[int], dict]


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


def shots(field, wanted=None):
    """Starts every contender and asks each the questions that its cases depend on; all shots that may be fired."""
    rig, tools, cases = field.rig, field.rig.tools, {case.name: case for case in CASES}
    made = []

    def add(name, contender, start, path, lines, expect=200):
        case = cases[name]
        if wanted is not None and (name not in wanted or (wanted[name] and contender not in wanted[name])):
            return
        load = {"h1": loads.http1, "h2": loads.Http2(), "tls": loads.tls}[case.protocol]
        if (case.protocol == "h2" and not tools.h2load) or (case.protocol == "tls" and not tools.wrk):
            return
        try:
            server = start()
        except Broken as broken:
            say(f"SKIPPED {contender} at {name}: {broken}")
            tools.skipped[f"{contender} at {name}"] = str(broken)
            return
        more = {"expect": expect} if case.protocol == "h1" else {}
        made.append(
            Shot(case, contender, server, lambda n: loads.measured(server, load, rig, server, path, n, lines, **more))
        )

    def once(start):
        """The same process for several cases."""
        kept = []
        return lambda: kept[0] if kept else (kept.append(start()) or kept[0])

    gateways = {
        alg: once(lambda people=people: c.ours(rig, people.data, people.algorithm, tls=people.algorithm == "RS256"))
        for alg, people in field.callers.items()
    }
    bare = {protocol: once(lambda protocol=protocol: c.bare(rig, protocol)) for protocol in ("h1", "h2", "tls")}
    plain = {c.NGINX: once(lambda: c.nginx(rig)), c.HAPROXY: once(lambda: c.haproxy(rig)), c.ENVOY: once(lambda: c.envoy(rig))}
    plain = {name: start for name, start in plain.items() if getattr(tools, name.lower())}

    for name, path in (("pass", PUBLIC), ("pass_10k", "/public/10k"), ("h2_pass", PUBLIC), ("tls_pass", PUBLIC)):
        add(name, c.BARE, bare[cases[name].protocol], path, None)
        add(name, c.OURS, gateways["RS256"], path, None)
        for contender, start in plain.items():
            add(name, contender, start, path, None)

    for algorithm, people in field.callers.items():
        names = [f"jwt_{algorithm.lower()}"] + (["h2_jwt", "tls_jwt"] if algorithm == "RS256" else [])
        peers = [(peer, once(lambda start=start, people=people: asked(start(rig, people), people))) for peer, start in peers_of(field, algorithm)]
        for name in names:
            add(name, c.BARE, bare[cases[name].protocol], COUNTED, people.lines)
            add(name, c.OURS, once(lambda a=algorithm, p=people: asked(gateways[a](), p)), COUNTED, people.lines)
            for peer, start in peers:
                if name.startswith("jwt_") or peer not in (c.OPENIDC, c.UNCACHED):
                    add(name, peer, start, COUNTED, people.lines)

    key_gateway = once(lambda: c.ours(rig, field.key_data))
    add("key", c.OURS, lambda: asked_key(key_gateway(), field.keys), COUNTED, field.key_lines)
    if tools.haproxy:
        add("key", c.HAPROXY, lambda: asked_key(c.haproxy_map(rig, field.keys), field.keys), COUNTED, field.key_lines)
    add("key", c.NGINX, lambda: asked_key(c.nginx_map(rig, field.keys), field.keys), COUNTED, field.key_lines)
    if tools.envoy:
        add("key", c.ENVOY, lambda: asked_key(c.envoy_key(rig, field.keys), field.keys), COUNTED, field.key_lines)

    add("refusal_401", c.OURS, gateways["RS256"], COUNTED, None, 401)
    add("refusal_403", c.OURS, gateways["RS256"], "/forbidden/x", field.callers["RS256"].lines, 403)
    add("refusal_429", c.OURS, gateways["RS256"], "/exhausted/x", field.callers["RS256"].lines, 429)
    return made


# -- questions ---------------------------------------------------------------------------------------------------------


def seen(address, headers):
    """Status, and what the service behind saw."""
    return get(address, "/counted/seen", headers)


def must(what, holds):
    if not holds:
        raise Broken(what)


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
    starts = {f"{name} (JWT)": (lambda start=start: start(field.rig, people, 3)) for name, start in peers_of(field, "RS256")}
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
    return Field(rig, callers, made, write_lines(rig.folder / "keys", [f"x-api-key: {key}" for key, _ in made]), key_data)
