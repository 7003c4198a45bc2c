"""Every contender starts with the configuration that is committed, lets a request through, and answers the questions that it is
asked before it is measured. Run by tests/yardstick.rs; by hand: python3 -m unittest discover -v bench/tests -p test_contenders.py

The gateway and the bare proxy are whatever is built. A peer that is not installed is skipped, and why is said.
"""

import contextlib
import http.server
import os
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from yardstick import cases  # noqa: E402
from yardstick import contenders as c  # noqa: E402
from yardstick.rig import ROOT, Rig, Tools, get  # noqa: E402

ALGORITHM = "RS256"  # the one that all peers know


class Service(http.server.BaseHTTPRequestHandler):
    """Says what it saw, as the upstream of the benchmark does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"user={self.headers.get('x-user-id', '')} ".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Small(Rig):
    """A rig whose upstream needs no package."""

    def start_upstream(self):
        service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
        threading.Thread(target=service.serve_forever, daemon=True).start()
        self.stack.callback(service.server_close)
        self.stack.callback(service.shutdown)
        self.upstream_port = service.server_port


def built():
    """The folder of the programs: told, or where there is one."""
    if told := os.environ.get("BENCH_BINARIES"):
        return Path(told)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    found = [target / kind for kind in ("release", "debug") if (target / kind / "portcullis").exists()]
    if not found:
        raise unittest.SkipTest(f"nothing is built under {target}: cargo build --workspace")
    return found[0]


class Contenders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        binaries = built()
        absent = [name for name in ("portcullis", "bare") if not (binaries / name).exists()]
        if absent:
            raise AssertionError(f"{', '.join(absent)} not built beside the tests: cargo test --workspace builds all of them")
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.tools = Tools.find(binaries, binaries.parent / "bench-peers")
        cls.rig = Small(stack, cls.tools)
        cls.field = cases.make_field(cls.rig, [ALGORITHM], people=3, keys=5)
        cls.people = cls.field.callers[ALGORITHM]

    def need(self, *tools):
        for tool in tools:
            if not getattr(self.tools, tool):
                self.skipTest(self.tools.skipped[tool])

    def passes(self, server):
        self.assertEqual(get(server.http, cases.PUBLIC)[0], 200)
        server.stop()

    def verifies(self, start):
        cases.asked(start(self.rig, self.people), self.people).stop()

    def knows_keys(self, start):
        cases.asked_key(start(self.rig, self.field.keys), self.field.keys).stop()

    def test_the_bare_proxy(self):
        for protocol in ("h1", "h2"):
            self.passes(c.bare(self.rig, protocol))

    def test_ours(self):
        server = cases.asked(cases.gateway(self.rig, self.people, tls=True), self.people)
        self.passes(server)
        cases.asked_key(c.ours(self.rig, self.field.key_data), self.field.keys).stop()

    def test_nginx(self):
        self.need("nginx")
        self.passes(c.nginx(self.rig))
        self.knows_keys(c.nginx_map)

    def test_nginx_with_a_cache_written_by_hand(self):
        self.need("nginx", "lua")
        self.verifies(c.nginx_expert)

    def test_nginx_with_openidc(self):
        self.need("nginx", "lua", "openidc")
        self.verifies(c.nginx_openidc)

    def test_haproxy(self):
        self.need("haproxy")
        self.passes(c.haproxy(self.rig))
        self.verifies(c.haproxy_jwt)
        self.knows_keys(c.haproxy_map)

    def test_envoy(self):
        self.need("envoy")
        self.passes(c.envoy(self.rig))
        self.verifies(c.envoy_jwt)
        self.verifies(c.envoy_uncached)
        self.knows_keys(c.envoy_key)


if __name__ == "__main__":
    unittest.main()
