"""What this machine is, which versions ran, and how far a run has come."""

import os
import platform
import re
import time
from datetime import datetime, timezone
from pathlib import Path

from .processes import output, say


def machine(root):
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "rustc": output("rustc", "--version"),
        "commit": output("git", "-C", str(root), "describe", "--always", "--dirty") or "none",
        "load_average_before": os.getloadavg()[0],
    }


def versions(tools):
    """What each contender and load generator calls itself."""
    asked = {
        "portcullis": (tools.binaries / "portcullis", "--version"),
        "nginx": (tools.nginx, "-v"),
        "HAProxy": (tools.haproxy, "-v"),
        "Envoy": (tools.envoy, "--version"),
        "wrk": (tools.wrk, "-v"),
        "h2load": (tools.h2load, "--version"),
        "openssl": ("openssl", "version"),
    }
    found = {}
    for name, (program, flag) in asked.items():
        said = output(str(program), flag) if program else ""
        # Envoy says its path and commit first.
        number = re.search(r"\d+\.\d+\.\d+[\w.+-]*", said)
        found[name] = number.group() if number else None
    found["pingora"] = "0.9.1"
    return found


class Progress:
    """How long the rest will take: each part's expected seconds, corrected by how the parts before it went."""

    def __init__(self, parts):
        self.parts, self.done, self.began = dict(parts), 0.0, time.monotonic()

    def part(self, name):
        spent = time.monotonic() - self.began
        pace = spent / self.done if self.done > 20 else 1.0
        left = sum(self.parts.values()) * pace
        self.done += self.parts.pop(name, 0)
        say(f"{name} ({spent / 60:.0f} min gone, about {left / 60:.0f} min left)")
