"""The load generators, all on the other core, and what each says of a burst of requests.

load     our own: HTTP/1.1, a closed loop over 64 connections or a schedule, the next caller's credential with every request;
         in turns with others, over connections that stay open, so that little time lies between what is compared
wrk      TLS with HTTP/1.1: the same closed loop, the credentials turned by a Lua script; for a time, not a number of requests
h2load   HTTP/2: sixteen processes with a connection of four streams each, and one caller each, since it knows one header for
         a whole run. A client that keeps its connection is like that; other callers come in the next round
"""

import json
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from .processes import LOAD, Broken, pinned

CONNECTIONS = 64
# Parts of a turn. The first is not counted: whoever comes to a core after another finds its memory in no cache. (What ours writes down of it 50 ms
# later is, and of the last it is not.)
PARTS = 5
H2_CLIENTS, H2_STREAMS = 16, 4
WRK = Path(__file__).resolve().parent / "wrk.lua"


def run(*command, place=LOAD):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, preexec_fn=pinned(place))
    if done.returncode:
        raise Broken(f"{' '.join(map(str, command))} failed: {done.stderr[-1000:]}")
    return done.stdout


def http1(rig, server, path, requests, lines=None, expect=200, connections=CONNECTIONS, rate=None, paths=None):
    """Our own load, at once."""
    command = http1_command(rig, server, path, requests, lines, expect, connections, rate, paths)
    return http1_report(run(*command))


def http1_in_turns(turns, rig, server, path, requests, lines=None, expect=200, paths=None):
    """Our own load, turn by turn: yields after each but the last, and returns what `measured` does."""
    parts = max(1, min(turns * PARTS, requests))
    command = http1_command(rig, server, path, requests, lines, expect, paths=paths)
    command = [str(part) for part in (*command, "--turns", parts)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, bufsize=1, preexec_fn=pinned(LOAD), **pipes) as load:
        spent = counted = 0
        try:
            for part in range(parts):
                before = server.cpu_ns()
                load.stdin.write("\n")
                told = load.stdout.readline()
                if not told:
                    raise Broken(f"{' '.join(command)} failed: {load.stderr.read()[-1000:]}")
                if part % PARTS or parts < PARTS:
                    spent += server.cpu_ns() - before
                    counted += requests * (part + 1) // parts - requests * part // parts
                if part % PARTS == PARTS - 1 and part < parts - 1:
                    yield
        finally:
            load.kill()  # it has ended, if nobody has given up
    return charged(http1_report(told), server, spent, counted)


def http1_command(rig, server, path, requests, lines=None, expect=200, connections=CONNECTIONS, rate=None, paths=None):
    command = [rig.tools.binaries / "load", "--target", server.http, "--path", path, "--requests", requests]
    command += ["--expect", expect, "--connections", connections]
    for name, value in (("--headers", lines), ("--rate", rate), ("--paths", paths)):
        command += [name, value] if value else []
    return command


def http1_report(told):
    report = json.loads(told)
    kept = ("requests", "errors", "seconds", "p50_us", "p99_us", "failure", "statuses")
    return {name: report[name] for name in kept if report.get(name) is not None}


def tls(rig, server, path, requests, lines=None):
    """wrk, for as long as `requests` took at 20,000 a second."""
    seconds = max(1, round(requests / 20_000))
    command = [
        rig.tools.wrk,
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        WRK,
        f"https://{server.https}{path}",
    ]
    command += ["--", lines] if lines else []
    return json.loads(run(*command).splitlines()[-1])


class Http2:
    """h2load; each burst takes the next callers."""

    def __init__(self):
        self.turn = 0

    def __call__(self, rig, server, path, requests, lines=None):
        folder, each = rig.new_folder("h2load"), requests // H2_CLIENTS
        headers = lines.read_text().splitlines() if lines else []
        running, began = [], time.monotonic()
        for number in range(H2_CLIENTS):
            command = [rig.tools.h2load, "-n", each, "-c1", f"-m{H2_STREAMS}", "-t1", f"--log-file={folder}/{number}"]
            if headers:
                command += ["-H", headers[(self.turn + number) % len(headers)]]
            command += [f"http://{server.h2c}{path}"]
            started = subprocess.Popen(
                [str(part) for part in command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                preexec_fn=pinned(LOAD),
            )
            running.append(started)
        self.turn += H2_CLIENTS
        for one in running:
            one.communicate(timeout=300)
        seconds = time.monotonic() - began
        micros, errors = [], 0
        for number in range(H2_CLIENTS):
            answers = [line.split("\t") for line in (folder / str(number)).read_text().splitlines()]
            micros += [int(answer[2]) for answer in answers]
            errors += each - sum(answer[1] == "200" for answer in answers)
        shutil.rmtree(folder)
        cuts = statistics.quantiles(micros, n=100) if len(micros) > 1 else [0] * 99
        return {
            "requests": each * H2_CLIENTS,
            "errors": errors,
            "seconds": seconds,
            "p50_us": cuts[49],
            "p99_us": cuts[98],
        }


def measured(server, load, *arguments, **more):
    """Carries out a load and adds what the kernel says `server` spent on each request, and holds."""
    before = server.cpu_ns()
    report = load(*arguments, **more)
    return charged(report, server, server.cpu_ns() - before)


def at_once(server, load, *arguments):
    """`measured`, for a load that knows no turns."""
    yield from ()
    return measured(server, load, *arguments)


def charged(report, server, spent, counted=None):
    """A load's report with the nanoseconds that `server` spent on so many of its requests, or all, and what it holds."""
    if not report["requests"]:
        raise Broken(f"no request was sent: {report}")
    report["cpu_us"] = spent / 1000 / (counted or report["requests"])
    report["rps"] = report["requests"] / report["seconds"]
    report["rss"] = server.rss_bytes()
    return report
