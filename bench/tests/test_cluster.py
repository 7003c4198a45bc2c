"""What is promised of several gateways is judged, and a target that is missed is no success. Run by tests/yardstick.rs."""

import json
import subprocess
import tempfile
import unittest
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent


def judged(results):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(results, file)
        file.flush()
        return subprocess.run([BENCH / "cluster", "--judge", file.name], capture_output=True, text=True)


class Targets(unittest.TestCase):
    def setUp(self):
        self.results = json.loads((BENCH / "cluster.json").read_text())

    def test_the_committed_numbers_miss_none(self):
        ran = judged(self.results)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))

    def test_a_target_that_is_missed_is_named_and_ends_with_1(self):
        changes = [("revocations", name, [1, 1501 if "polled" in name else 101], name) for name in self.results["revocations"]]
        for part, name, value, said in (
            ("calls", "calls_per_request", 0.021, "calls to Redis"),
            ("quota", "most_in_a_minute", 101, "let in within a minute"),
            *changes,
        ):
            with self.subTest(said):
                ran = judged(self.results | {part: self.results[part] | {name: value}})
                self.assertEqual(ran.returncode, 1)
                self.assertRegex(ran.stderr, f"missed: .*{said}")
        ran = judged(self.results | {"added": [{"sharing": 201, "alone": 150}]})
        self.assertEqual((ran.returncode, "counting together adds" in ran.stderr), (1, True))


if __name__ == "__main__":
    unittest.main()
