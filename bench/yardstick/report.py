"""results.json as a page, as pictures and as the block of README. Nothing is measured here, and no figure is made up:
what is not in the results is said to be missing."""

import json
import re
from pathlib import Path

from . import charts, tables
from .ratios import TARGETS

METHOD = Path(__file__).resolve().parent / "method.md"


# -- the page ----------------------------------------------------------------------------------------------------------


def method(results):
    where, proved = results["machine"], results.get("limits_proved", {})
    wrong = [name for name, good in proved.items() if not good]
    told = "Each peer's limit was tried with 3 a minute: "
    told += f"these do not count each user: {', '.join(wrong)}." if wrong else "all count each user by himself."
    skipped = [f"\n- {name}: {why.splitlines()[0]}" for name, why in results["skipped"].items()]
    return METHOD.read_text().format(
        **where,
        **results["plan"],
        load=where["load_average_before"],
        versions=", ".join(f"{name} {number}" for name, number in results["versions"].items() if number),
        proved=told if proved else "",
        skipped="".join(skipped) or "Nothing.",
    )


def page(results):
    yield "# What a request costs\n"
    yield "Written by `make bench`; every figure of every round is in results.json.\n"
    yield "![The targets](charts/targets.svg)\n"
    yield from tables.ratios(results)
    yield "\n## Beside the others\n"
    drawn = pictures(results)
    for name, what in (("tokens.svg", "with a credential"), ("protocols.svg", "by protocol")):
        if name in drawn:
            yield f"![CPU of a request {what}](charts/{name})\n"
    for name in results["cases"]:
        yield from tables.case(results, name)
    if results["cuts"]:
        yield "## Other cuts\n"
        if "growth" in results["cuts"]:
            yield "![Growth](charts/growth.svg)\n"
        yield from tables.cuts(results["cuts"])
    yield method(results)


# -- pictures ----------------------------------------------------------------------------------------------------------


def group(results, name):
    rows = sorted(results["cases"][name].items(), key=lambda pair: pair[1]["cpu_us"])
    return tables.TITLES[name], [(who, row["cpu_us"], row["cpu_us_low"], row["cpu_us_high"]) for who, row in rows]


def pictures(results):
    """File name -> SVG."""
    unit = "CPU µs per request, user and system, of the whole contender; the thin line spans the rounds. Less is better"
    found = {}
    tokens = [group(results, name) for name in results["cases"] if name.startswith("jwt_") or name == "key"]
    if tokens:
        found["tokens.svg"] = charts.bars("What a request costs, by who asks", unit, tokens)
    others = [group(results, name) for name in results["cases"] if name.startswith(("pass", "h2", "tls"))]
    if others:
        found["protocols.svg"] = charts.bars("What a request costs, by protocol", unit, others)
    rows = []
    for name, (_, target, stretch) in TARGETS.items():
        ratio = results["ratios_detail"][name]
        rows.append((name, ratio.get("median"), ratio.get("low"), ratio.get("high"), target, stretch))
    found["targets.svg"] = charts.targets(
        "Ratios within one run, against their targets", "median of the rounds, and their span", rows
    )
    if "growth" in results["cuts"]:
        curves = {
            name: [(int(number), row["ratio"]["median"]) for number, row in curve.items()]
            for name, curve in results["cuts"]["growth"].items()
        }
        found["growth.svg"] = charts.lines(
            "Cost as the configuration grows", "CPU per request ÷ that of the smallest", curves
        )
    return found


def write_section(path, text):
    """Puts `text` where the page has a section with the same heading, or at its end: each harness has a section of its own."""
    heading = text.splitlines()[0]
    sections = re.split(r"(?m)^(?=# )", path.read_text() if path.exists() else "")
    sections = [text if section.startswith(f"{heading}\n") else section for section in sections if section]
    sections += [] if text in sections else [text]
    path.write_text("\n".join(f"{section.strip()}\n" for section in sections))


def write(results, folder):
    """RESULTS.md and charts beside results.json."""
    write_section(folder / "RESULTS.md", "\n".join(page(results)))
    (folder / "charts").mkdir(exist_ok=True)
    for name, picture in pictures(results).items():
        (folder / "charts" / name).write_text(picture)


# -- README ------------------------------------------------------------------------------------------------------------

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


def readme(results, path):
    """Replaces what is between the marks."""
    plan, where = results["plan"], results["machine"]
    lines = [
        f"One worker thread each, {where['cores']} cores, {plan['callers']:,} different callers, keep-alive, the same upstream; medians of {plan['rounds']} shuffled",
        "rounds on a noisy virtual machine ([method, limits and every figure](bench/RESULTS.md)). `make bench` measures it on yours.",
        "",
        "![What a request with a token costs](bench/charts/tokens.svg)",
        "",
        "![Ratios against their targets](bench/charts/targets.svg)",
        "",
        *tables.ratios(results),
    ]
    text = path.read_text()
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    path.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")


def load(path):
    return json.loads(path.read_text())
