"""Each contender, started as its own documentation would have it: one worker, pinned, connections kept on both sides.

Ours and the bare proxy are built with the same profile and allocator. The peers' files are bench/peers.
"""

import json
import re
import shutil

from . import credentials
from .processes import PROXY, Server, free_ports
from .rig import CONFIG, LIMIT, PEERS, fill

BARE, OURS = "bare Pingora", "Portcullis"
NGINX, HAPROXY, ENVOY = "nginx", "HAProxy", "Envoy"
OPENIDC, EXPERT, UNCACHED = "nginx + lua-resty-openidc", "nginx + hand-written Lua cache", "Envoy, its cache off"
# Whoever can be installed and verifies tokens by itself. The hand-written cache is measured beside them, and is no package.
PACKAGED = (HAPROXY, ENVOY, OPENIDC)


# -- ours, and the baseline --------------------------------------------------------------------------------------------


def bare(rig, protocol="h1"):
    """Pingora that forwards and nothing else."""
    more = {"h1": [], "h2": ["--h2c"], "tls": ["--certificate", rig.certificate, "--key", rig.key]}[protocol]
    upstream = f"127.0.0.1:{rig.upstream_port}"
    command = [rig.tools.binaries / "bare", "--upstream", upstream, "--threads", 1, *more]
    server = rig.keep(Server(command, rig.new_folder("bare") / "log", announces=True))
    server.http = server.h2c = server.https = json.loads(server.said)["http"].removeprefix("http://")
    return server


def configured(rig, edits=(), more=None):
    """A copy of bench/config with (file, old, new) replaced and text appended to files."""
    folder = rig.new_folder("config") / "config"
    shutil.copytree(CONFIG, folder)
    for name, old, new in edits:
        text = (folder / name).read_text()
        assert old in text, f"bench/config/{name} has no {old!r} any more"
        (folder / name).write_text(text.replace(old, new))
    for name, text in (more or {}).items():
        with open(folder / name, "a") as file:
            file.write(text)
    return folder


def signing_with(algorithm):
    secret = '\nshared_secret = { env = "BENCH_SECRET" }' if algorithm == "HS256" else ""
    return ("gateway.toml", 'algorithm = "EdDSA"', f'algorithm = "{algorithm}"{secret}')


# Passwords as costly as they are shipped.
FULL_COST = [
    ("gateway.toml", "argon2_memory_kib = 64 ", "argon2_memory_kib = 19456 "),
    ("gateway.toml", "argon2_iterations = 1", "argon2_iterations = 2"),
]


def tls_of(rig):
    pair = f'{{ certificate = "{rig.certificate}", key = "{rig.key}" }}'
    listen = ("gateway.toml", 'http = "127.0.0.1:0"\n', 'http = "127.0.0.1:0"\nhttps = "127.0.0.1:0"\n')
    return [listen], {"gateway.toml": f"\n[tls]\ncertificates = [{pair}]\n"}


def ours(rig, data, algorithm="EdDSA", tls=False, edits=(), more=None, access_log="off", place=PROXY):
    """The gateway on a data folder, configured as bench/config says and as the arguments change it."""
    tls_edits, tls_text = tls_of(rig) if tls else ([], {})
    texts = {name: tls_text.get(name, "") + (more or {}).get(name, "") for name in {*tls_text, *(more or {})}}
    config = configured(rig, [signing_with(algorithm), *tls_edits, *edits], texts)
    environment = {
        "BENCH_UPSTREAM": f"127.0.0.1:{rig.upstream_port}",
        "BENCH_ACCESS_LOG": str(access_log),
        "BENCH_SECRET": credentials.SHARED,
    }
    command = [rig.tools.binaries / "portcullis", "serve", "--config", config, "--data", data]
    server = rig.keep(Server(command, config.parent / "log", place, environment, announces=True))
    said = json.loads(server.said)
    server.http = server.h2c = said["http"].removeprefix("http://")
    server.https = (said["https"] or "").removeprefix("https://")
    server.metrics, server.config = said["metrics"].removeprefix("http://"), config
    return server


# -- peers -------------------------------------------------------------------------------------------------------------


def common(rig, callers=None, limit=LIMIT):
    """Ports, and what the templates are filled with."""
    ports = dict(zip(("PORT", "H2C", "TLS"), free_ports(3), strict=True))
    values = {"UPSTREAM": rig.upstream_port, "LIMIT": limit, **ports}
    values |= {"CERTIFICATE": rig.certificate, "KEY": rig.key, "BUNDLE": rig.bundle}
    values |= {"ISSUER": credentials.ISSUER, "AUDIENCE": credentials.AUDIENCE}
    if callers:
        values |= {"ALGORITHM": callers.algorithm, "JWKS": json.dumps(callers.jwks), "VERIFYING": callers.verifying}
    return values


def parts_of(piece):
    """The parts of a template that has several, each begun by a comment of one word."""
    text = (PEERS / piece).read_text()
    found = re.split(r"^# (http|location|frontend|tables)\n", text, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def at_ports(server, values, same=False):
    server.http, server.https = f"127.0.0.1:{values['PORT']}", f"127.0.0.1:{values['TLS']}"
    server.h2c = server.http if same else f"127.0.0.1:{values['H2C']}"
    return server.wait_for(server.http)


def nginx(rig, piece=None, values=None, modules=()):
    folder, values = rig.new_folder("nginx"), values or common(rig)
    parts = parts_of(piece) if piece else {}
    loaded = "".join(f"load_module /usr/lib/nginx/modules/{module}.so;\n" for module in modules)
    text = fill(
        (PEERS / "nginx.conf").read_text(),
        {"MODULES": loaded, "HTTP": parts.get("http", ""), "LOCATION": parts.get("location", "")},
    )
    (folder / "nginx.conf").write_text(fill(text, {"FOLDER": folder, "PEERS": PEERS, **values}))
    command = [rig.tools.nginx, "-p", folder, "-e", folder / "nginx.log", "-c", folder / "nginx.conf"]
    return at_ports(rig.keep(Server(command, folder / "nginx.log")), values)


LUA = ("ndk_http_module", "ngx_http_lua_module")


def nginx_expert(rig, callers, limit=LIMIT):
    return nginx(rig, "nginx-lua.conf", common(rig, callers, limit), LUA)


def nginx_openidc(rig, callers, limit=LIMIT):
    secret = "symmetric_key" if callers.algorithm == "HS256" else "public_key"
    values = common(rig, callers, limit) | {"LUA": rig.tools.openidc, "SECRET": secret}
    return nginx(rig, "nginx-openidc.conf", values, LUA)


def nginx_map(rig, keys, limit=LIMIT):
    path = rig.new_folder("keys") / "keys"
    path.write_text("".join(f'"{key}" "{account}";\n' for key, account in keys))
    return nginx(rig, "nginx-map.conf", common(rig, limit=limit) | {"KEYS": path})


def haproxy(rig, piece=None, values=None):
    folder, values = rig.new_folder("haproxy"), values or common(rig)
    parts = parts_of(piece) if piece else {}
    text = fill(
        (PEERS / "haproxy.cfg").read_text(), {"FRONTEND": parts.get("frontend", ""), "TABLES": parts.get("tables", "")}
    )
    (folder / "haproxy.cfg").write_text(fill(text, {"FOLDER": folder, **values}))
    command = [rig.tools.haproxy, "-db", "-f", folder / "haproxy.cfg"]
    return at_ports(rig.keep(Server(command, folder / "log")), values)


def haproxy_jwt(rig, callers, limit=LIMIT):
    values = common(rig, callers, limit)
    if callers.algorithm != "HS256":
        values["VERIFYING"] = rig.new_folder("pem") / "key.pem"
        values["VERIFYING"].write_text(callers.verifying)
    return haproxy(rig, "haproxy-jwt.cfg", values)


def haproxy_map(rig, keys, limit=LIMIT):
    path = rig.new_folder("keys") / "keys.map"
    path.write_text("".join(f"{key} {account}\n" for key, account in keys))
    return haproxy(rig, "haproxy-map.cfg", common(rig, limit=limit) | {"KEYS": path})


def envoy(rig, piece=None, values=None):
    folder, values = rig.new_folder("envoy"), values or common(rig)
    filters = (PEERS / piece).read_text() if piece else ""
    indented = "".join(f"          {line}\n" for line in filters.splitlines() if not line.startswith("#")).rstrip("\n")
    text = fill((PEERS / "envoy.yaml").read_text(), {"FILTERS": indented})
    (folder / "envoy.yaml").write_text(fill(text, values))
    command = [rig.tools.envoy, "-c", folder / "envoy.yaml", "--concurrency", 1, "--disable-hot-restart", "-l", "warn"]
    return at_ports(rig.keep(Server(command, folder / "log")), values, same=True)


def envoy_jwt(rig, callers, limit=LIMIT, cache=True):
    kept = "jwt_cache_config: { jwt_cache_size: 10000, jwt_max_token_size: 8192 }"
    values = common(rig, callers, limit)
    values["CACHE"] = kept if cache else ""
    return envoy(rig, "envoy-jwt.yaml", values)


def envoy_uncached(rig, callers, limit=LIMIT):
    return envoy_jwt(rig, callers, limit, cache=False)


def envoy_key(rig, keys, limit=LIMIT):
    listed = [{"key": key, "client": account} for key, account in keys]
    return envoy(rig, "envoy-key.yaml", common(rig, limit=limit) | {"CREDENTIALS": json.dumps(listed)})
