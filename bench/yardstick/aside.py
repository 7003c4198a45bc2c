"""What the other harnesses of this folder start with, which compare ours with nobody, and bring an upstream of their own:

    sys.path.insert(0, str(ROOT / "bench"))
    from yardstick import aside as yardstick
"""

import concurrent.futures
import json
import tempfile
from pathlib import Path

from . import machine as machines
from . import processes
from .cases import COUNTED
from .processes import Broken, say
from .report import write_section as section_of
from .rig import CONFIG, ROOT, post, register, write_lines

__all__ = [
    "COUNTED",
    "CONFIG",
    "ROOT",
    "Bench",
    "Server",
    "machine",
    "make_callers",
    "pinned",
    "say",
    "write_lines",
    "write_section",
]


def machine():
    return machines.machine(ROOT)


def pinned(core):
    """For preexec_fn: 0 is the core of the proxies, 1 that of load and upstream."""
    return processes.pinned(core)


def write_section(text):
    section_of(ROOT / "bench" / "RESULTS.md", text)


class Server(processes.Server):
    """A program of ours, which says where it is on its first line."""

    def __init__(self, core, *command, log, **environment):
        try:
            super().__init__(command, log, core, environment, announces=True)
        except Broken as broken:
            raise SystemExit(f"bench: {broken}") from broken
        self.address = json.loads(self.said)["http"].removeprefix("http://")


class Bench:
    """A folder, an upstream that answers two bytes, and what is started before it; all of it ends with `stack`."""

    def __init__(self, stack, binaries):
        self.stack, self.binaries = stack, Path(binaries)
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portcullis-bench-")))
        self.upstream = self.start(1, "upstream")

    def start(self, core, program, *arguments, **environment):
        server = Server(core, self.binaries / program, *arguments, log=self.folder / f"{program}.log", **environment)
        self.stack.callback(server.stop)
        return server

    def gateway(self, data, access_log="off"):
        settings = {"BENCH_UPSTREAM": self.upstream.address, "BENCH_ACCESS_LOG": str(access_log)}
        return self.start(0, "portcullis", "serve", "--config", CONFIG, "--data", data, **settings)


def make_callers(address, accounts, with_keys):
    """Registers `accounts` people; their access tokens, and API keys of the first `with_keys`."""

    def make(number):
        token = register(address, f"caller{number}")
        key = post(address, "/auth/api-keys", {"name": "bench"}, token)["key"] if number < with_keys else None
        return token, key

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        callers = list(pool.map(make, range(accounts)))
    return [token for token, _ in callers], [key for _, key in callers[:with_keys]]
