"""The yardstick's own arithmetic: ratios, credentials, pages and pictures. Run by tests/yardstick.rs, and by hand:
python3 -m unittest discover bench/tests
"""

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml
import zlib
from contextlib import closing
from importlib.machinery import SourceFileLoader
from functools import partial
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from yardstick import credentials, cuts, main, ratios, report, rounds, streams, tables  # noqa: E402
from yardstick import contenders as c  # noqa: E402
from yardstick.cases import Case, Shot  # noqa: E402
from yardstick.processes import Broken  # noqa: E402
from yardstick.rig import Tools  # noqa: E402


def shot(*costs):
    """The reports of a shot whose rounds cost so much."""
    reports = [
        {
            "requests": 10,
            "errors": 0,
            "seconds": 1.0,
            "cpu_us": cost,
            "rps": 10.0,
            "p50_us": 5,
            "p99_us": 9,
            "rss": 2**20,
        }
        for cost in costs
    ]
    return rounds.summary(reports) | {"rounds": reports}


CASES = {
    "jwt_rs256": {
        c.BARE: shot(10, 20),
        c.OURS: shot(12, 26),
        c.HAPROXY: shot(40, 40),
        c.ENVOY: shot(30, 36),
        c.EXPERT: shot(9, 9),
    },
    "jwt_hs256": {c.BARE: shot(10, 10), c.OURS: shot(11, 11), c.HAPROXY: shot(22, 22)},
    "refusal_401": {c.OURS: shot(3, 3)},
    "refusal_429": {c.OURS: shot(9, 19.5)},
}
KEYS = "jwt_vs_bare rs256_vs_best_peer es256_vs_best_peer hs256_vs_haproxy key_vs_envoy refusal_vs_pass login_storm_p99 routes_10000_vs_10"


class Ratios(unittest.TestCase):
    def setUp(self):
        self.detail = ratios.ratios(CASES, {})
        self.numbers = ratios.numbers(self.detail)

    def test_there_are_eight_and_each_is_a_number_or_has_a_reason(self):
        self.assertEqual(list(self.numbers), KEYS.split())
        for name, number in self.numbers.items():
            self.assertTrue(number is not None or self.detail[name]["reason"], name)

    def test_a_ratio_is_taken_within_a_round(self):
        # 12 ÷ 10 and 26 ÷ 20, not 19 ÷ 15; the dearest algorithm counts.
        self.assertEqual(self.numbers["jwt_vs_bare"], 1.25)
        self.assertEqual(self.detail["jwt_vs_bare"]["of"], "jwt_rs256")

    def test_the_best_packaged_peer_counts_and_what_nobody_can_install_does_not(self):
        self.assertEqual(self.detail["rs256_vs_best_peer"]["against"], c.ENVOY)
        self.assertEqual(self.numbers["hs256_vs_haproxy"], 0.5)

    def test_the_dearer_refusal_counts(self):
        self.assertEqual(self.numbers["refusal_vs_pass"], 0.75)

    def test_what_was_not_measured_is_missing_and_not_good(self):
        self.assertIsNone(self.numbers["es256_vs_best_peer"])
        self.assertIsNone(self.numbers["login_storm_p99"])


class Verdicts(unittest.TestCase):
    """Target 1.5, stretch 1.2."""

    def verdict(self, *figures):
        reports = [{"cpu_us": figure} for figure in figures]
        return ratios.verdict(rounds.paired(reports, [{"cpu_us": 1}] * len(reports)), 1.5, 1.2)

    def test_what_the_rounds_agree_on_is_met_or_missed(self):
        self.assertEqual(self.verdict(1.0, 1.1, 1.2), "stretch met")
        self.assertEqual(self.verdict(1.3, 1.4, 1.5), "met")
        self.assertEqual(self.verdict(1.6, 1.7, 9), "**missed**")

    def test_a_median_whose_rounds_are_on_both_sides_is_not_resolved(self):
        self.assertEqual(self.verdict(6.96, 0.17, 1.09), "met, not resolved")
        self.assertEqual(self.verdict(1.0, 1.6, 1.7), "**missed**, not resolved")
        self.assertEqual(self.verdict(1.0, 1.1, 1.2, 1.6, 1.7), "met, not resolved")

    def test_one_round_of_five_that_went_astray_decides_nothing(self):
        self.assertEqual(self.verdict(1.0, 1.1, 1.0, 1.1, 9), "stretch met")
        self.assertEqual(self.verdict(1.6, 1.7, 1.6, 1.7, 0.2), "**missed**")

    def test_a_stretch_that_is_not_resolved_is_not_claimed(self):
        self.assertEqual(self.verdict(1.1, 1.15, 1.3), "met")

    def test_what_was_measured_once_has_no_rounds(self):
        self.assertEqual(ratios.verdict({"median": 1.3}, 1.5, 1.2), "met")


def watched(cost, first_byte):
    """What one round of streams says."""
    times = dict.fromkeys(("first_byte_p50_us", "first_byte_p90_us", "first_byte_p99_us"), first_byte)
    return times | {"cpu_us": cost, "core": 0.2, "load_core": 0.3, "events": 10, "arrivals": 10}


STREAMS = {
    "bare": {"rounds": [watched(10, 1000), watched(20, 2000)]},
    "gateway": {"rounds": [watched(12, 1100), watched(22, 2300)]},
}


class Streams(unittest.TestCase):
    def test_a_chunk_is_divided_and_a_first_byte_subtracted_within_a_round(self):
        summary = streams.summarise(STREAMS)
        self.assertAlmostEqual(summary["ratio"], (12 / 10 + 22 / 20) / 2)
        self.assertEqual([summary[name] for name in ("later_us", "later_us_low", "later_us_high")], [200, 100, 300])

    def test_the_short_form_is_of_a_thousand_chunks_at_the_pace_of_two_minutes(self):
        plan = streams.SHORT
        each = (plan["chunks"] * plan["pace_ms"] + plan["spread_ms"]) / 1000
        self.assertEqual((plan["chunks"], plan["at_once"]), (1000, 150))
        self.assertLessEqual(2 * (1 + plan["rounds"]) * each, 120)

    def test_either_form_leaves_a_slow_machine_most_of_its_core(self):
        for plan in (streams.SHORT, streams.LONG):
            self.assertLessEqual(plan["at_once"] / plan["pace_ms"] * 1000 * 35e-6, streams.BUSY)

    def test_a_target_that_was_missed_and_a_core_that_was_busy_are_told(self):
        told = "\n".join(tables.chunks(streams.summarise(STREAMS)))
        self.assertIn("comes 200 µs later at the median\n(from 100 to 300 in single rounds; target 300 or fewer: met)", told)
        self.assertNotIn("busy", told)
        late = [watched(12, 1500) | {"load_core": 0.6}, watched(22, 2600) | {"load_core": 0.6}]
        told = "\n".join(tables.chunks(streams.summarise(STREAMS | {"gateway": {"rounds": late}})))
        self.assertIn("target 300 or fewer: **missed**)", told)
        self.assertIn("A core was busy for more than 50 % of the time", told)

    def test_the_page_says_by_what_the_streams_were_run_and_whether_that_is_the_long_form(self):
        loader = SourceFileLoader("bench_streams", str(Path(__file__).resolve().parent.parent / "streams"))
        program = module_from_spec(spec_from_loader(loader.name, loader))
        loader.exec_module(program)
        memory = {"resident_before": 0, "rounds": [{**watched(10, 1000), "peak": 0, "resident": 0}]}
        where = dict.fromkeys(("cpu", "cores", "memory_gib", "kernel", "rustc", "date", "commit"), "x")
        results = {
            "machine": where | {"load_average_before": 0.0},
            "measured": {"bare": memory, "gateway": memory},
            "summary": streams.summarise(STREAMS),
        }
        long = "\n".join(program.told(results | {"plan": streams.LONG}))
        self.assertIn("Written by `bench/streams`; ", long)
        self.assertNotIn("make bench-streams", long)
        short = "\n".join(program.told(results | {"plan": streams.SHORT}))
        self.assertIn("Written by `bench/streams --streams 300 --at-once 150 --pace-ms 15 --rounds 2`; ", short)
        self.assertIn("what `make bench-streams` does: 10,000 streams, 500 at a time, in 5 rounds.\n\n|", short)


class Admit(unittest.TestCase):
    def setUp(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.program, self.tools = folder / "examples" / "admit", Tools(folder, None)

    def test_the_nanoseconds_that_the_example_says_are_a_row_among_the_targets(self):
        self.program.parent.mkdir()
        self.program.write_text("#!/bin/sh\necho admit 1100 1200 1700\necho read 116\n")
        self.program.chmod(0o755)
        found = cuts.admit(self.tools, times=2)
        self.assertEqual((len(found["rounds"]), found["steps"]), (6, {"read": 116}))
        told = next(told for told in ratios.also({"cases": {}, "cuts": {"admit": found}}) if "`admit`" in told[0])
        self.assertEqual([told[1], told[2], told[3]["median"], told[3]["low"], told[3]["high"]], [3, 1.5, 1.2, 1.1, 1.7])
        self.assertIn("| admit | 1,200 (1,100–1,700) |", "\n".join(tables.cuts({"admit": found})))

    def test_without_the_example_nothing_is_made_up(self):
        with self.assertRaisesRegex(Broken, "not built"):
            cuts.admit(self.tools)


class Rounds(unittest.TestCase):
    def test_every_shot_is_fired_in_every_round_and_those_of_a_case_follow_each_other(self):
        asked, places = [], [(case, who) for case in "abc" for who in "xyz"]

        def course(place, requests, turns):
            for _ in range(turns):
                asked.append(place)
                yield
            return shot(1)["rounds"][0]

        shots = [Shot(Case(case, case), who, None, partial(course, (case, who)), 1) for case, who in places]
        found = rounds.fire(shots, 1, 10)
        self.assertEqual({place: len(reports) for place, reports in found.items()}, dict.fromkeys(places, 1))
        # Of each case first all are made known, in one turn each, and then all have a turn before anyone has the next.
        each = 3 * (1 + rounds.TURNS)
        for group in (asked[n : n + each] for n in range(0, len(asked), each)):
            here = {(group[0][0], who) for who in "xyz"}
            self.assertEqual([set(group[n : n + 3]) for n in range(0, each, 3)], [here] * (1 + rounds.TURNS))
        self.assertEqual(len(asked), 3 * each)

    def test_whoever_breaks_is_left_out_and_said_to_be(self):
        def breaks(*_):
            raise Broken("gone")
            yield

        def answers(requests, turns):
            asked.append(requests)
            yield from ()
            return shot(1)["rounds"][0]

        asked = []
        good = Shot(Case("a", "a"), "good", None, answers, 2)
        skipped, bad = {}, Shot(Case("a", "a"), "bad", None, breaks, 2)
        found = rounds.fire([bad, good], 3, 10, skipped=skipped)
        self.assertEqual({place: len(reports) for place, reports in found.items()}, {("a", "good"): 3})
        self.assertIn("gone", skipped["bad at a"])
        self.assertEqual(asked, [9 * 2, 10] * 3, "each caller is known before it is measured")


class Credentials(unittest.TestCase):
    def test_a_key_has_the_form_that_the_gateway_reads(self):
        text = credentials.api_key(credentials.numbered_uuid("key", 7), 7)
        self.assertEqual((len(text), text[:4]), (4 + 22 + 43 + 6, "pck_"))
        self.assertEqual(text[-6:], credentials.base62(zlib.crc32(text[:-6].encode()), 6))

    def test_ids_are_uuids_of_version_7_in_order(self):
        ids = [credentials.numbered_uuid("account", n) for n in (0, 1, 1000)]
        self.assertEqual({one.version for one in ids}, {7})
        self.assertEqual(ids, sorted(ids))

    def test_openssl_reads_the_pem_of_a_jwk(self):
        zeros = credentials.b64(bytes(31) + b"\1")
        modulus = credentials.b64(b"\xc1" + bytes(254) + b"\1")
        for jwk in ({"kty": "OKP", "crv": "Ed25519", "x": zeros}, {"kty": "RSA", "n": modulus, "e": "AQAB"}):
            pem = credentials.pem_of(jwk).encode()
            read = subprocess.run(["openssl", "asn1parse"], input=pem, capture_output=True, check=True)
            self.assertIn(b"BIT STRING", read.stdout)


class Told(unittest.TestCase):
    def setUp(self):
        detail = ratios.ratios(CASES, {})
        where = dict.fromkeys(("cpu", "cores", "kernel", "rustc", "date", "commit"), "x")
        self.results = {
            "machine": where | {"memory_gib": 1, "load_average_before": 0.5},
            "versions": {"nginx": "1.22"},
            "plan": {"rounds": 2, "requests": 10, "callers": 1000, "turns": 10},
            "skipped": {"envoy": "cannot be had"},
            "cases": CASES,
            "cuts": {},
            "ratios": ratios.numbers(detail),
            "ratios_detail": detail,
        }

    def test_the_page_says_what_was_missed_and_what_was_skipped(self):
        page = "\n".join(report.page(self.results))
        self.assertIn(
            "| a refusal (401 or 429, the dearer) ÷ a pass | 0.75 (0.75–0.75) | 0.6 | 0.45 | **missed** |", page
        )
        self.assertIn("not measured: the storm of logins", page)
        self.assertRegex(page, r"(?m)^\| µs of `admit` alone, .* \| not measured: it was not part of this run \| 3 \| 1.5 \|  \|$")
        self.assertIn("- envoy: cannot be had", page)

    def test_a_cut_is_estimated_and_told_and_the_streams_are_one(self):
        self.assertEqual(set(main.CUTS), set(tables.CUTS))
        self.assertEqual({"starting", *main.CUTS}, set(main.FULL))
        self.results["cuts"]["streams"] = {"plan": streams.SHORT, "measured": STREAMS, "summary": streams.summarise(STREAMS)}
        page = "\n".join(report.page(self.results))
        self.assertIn("| the door: JWT, limits counted | 17.00 | 1700 | 1700 | 1700 | 20 % | 30 % |", page)
        self.assertIn("The first byte comes 200 µs later at the median\n(from 100 to 300 in single rounds; target 300 or fewer: met).", page)
        self.assertIn("1.00 reads for each chunk", page)

    def test_a_cut_that_a_run_was_told_to_leave_out_is_skipped_and_no_other(self):
        skipped, found = self.results["skipped"], {}
        field = SimpleNamespace(rig=SimpleNamespace(tools=SimpleNamespace(skipped=skipped)))
        told = SimpleNamespace(only=["cold"], accounts=1_000_000)
        with mock.patch.object(cuts, "cold", lambda _: {"a": 1}):
            main.take_cuts(told, field, {}, found, SimpleNamespace(part=lambda _: None))
        self.assertEqual(found, {"cold": {"a": 1}})
        page = "\n".join(report.page(self.results))
        for name in main.CUTS:
            said = f"\n- the cut {name}: this run was told to leave it out" in page
            self.assertEqual(said, name != "cold", name)

    def test_the_sections_of_others_stay(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "RESULTS.md"
            path.write_text("# What a request costs\n\nold\n\n# Another\n\nkept\n")
            report.write_section(path, "# What a request costs\n\nnew")
            self.assertEqual(path.read_text(), "# What a request costs\n\nnew\n\n# Another\n\nkept\n")

    def test_the_pictures_are_well_formed(self):
        found = report.pictures(json.loads(json.dumps(self.results)))
        self.assertEqual(set(found), {"tokens.svg", "targets.svg"})
        for picture in found.values():
            xml.fromstring(picture)


class Seeds(unittest.TestCase):
    def test_rows_fit_the_tables_as_they_are(self):
        steps = sorted((Path(__file__).resolve().parents[2] / "migrations" / "sqlite").glob("*.up.sql"))
        with tempfile.TemporaryDirectory() as folder:
            with closing(sqlite3.connect(Path(folder) / "portcullis.db")) as database:
                for step in steps:
                    database.executescript(step.read_text())
            credentials.seed_people(Path(folder), range(3))
            self.assertEqual(len(credentials.seed_keys(Path(folder), range(6), 3)), 6)


if __name__ == "__main__":
    unittest.main()
