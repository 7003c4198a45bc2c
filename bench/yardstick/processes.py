"""Processes: started on one core, watched through the kernel's own accounts, and ended."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

PROXY, LOAD = 0, 1


def cores():
    """The core of the proxies, and that of load and upstream. Where there is one, they share it."""
    return {PROXY: {0}, LOAD: {min(1, os.cpu_count() - 1)}}


def pinned(place):
    """Keeps the process that is about to start on the core of `place`; None leaves it free."""
    return None if place is None else lambda: os.sched_setaffinity(0, cores()[place])


HELD = []


def free_ports(count):
    """Ports that the system gives to nobody else for as long as this process lives. Whoever asks for one of them, and reuses addresses, gets
    it."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", 0))
    HELD.extend(sockets)
    return [one.getsockname()[1] for one in sockets]


class Broken(Exception):
    """A contender that does not do what it is measured for."""


class Server:
    """A program that serves until it is told to stop. Its children, such as nginx's worker, are part of it."""

    def __init__(self, command, log, place=PROXY, environment=None, announces=False):
        self.command, self.log = [str(part) for part in command], Path(log)
        self.http = self.h2c = self.https = self.said = None
        with open(log, "ab") as sink:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if announces else sink,
                stderr=sink,
                env={**os.environ, **(environment or {})},
                preexec_fn=pinned(place),
            )
        if announces:
            self.said = self.process.stdout.readline()
            if not self.said:
                self.process.wait()
                raise Broken(f"{self.command[0]} ended before it was ready:\n{self.tail()}")
            # Whatever else it prints is nobody's business, but must not fill the pipe.
            threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def wait_for(self, address, seconds=30):
        """Until somebody accepts connections at `address`."""
        host, port = address.split(":")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection((host, int(port)), 1).close()
                return self
            except OSError:
                time.sleep(0.02)
        raise Broken(f"{self.command[0]} does not listen on {address}:\n{self.tail()}")

    def tail(self):
        return self.log.read_text(errors="replace")[-2000:]

    def pids(self):
        """The process and its descendants."""
        found, new = [], [self.process.pid]
        while new:
            pid = new.pop()
            found.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    new += [int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                pass
        return found

    def cpu_ns(self):
        """CPU time so far, user and system, of all threads, ended ones too: clock_getcpuclockid(3) of each process."""
        return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in self.pids())

    def rss_bytes(self):
        """Resident memory; what the processes share is counted once (the proportional set size)."""
        total = 0
        for pid in self.pids():
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return total

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def output(*command, **more):
    """What a command prints, on either stream, or nothing where it cannot be run."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, **more)
        return done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)
