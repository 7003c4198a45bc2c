"""What is measured on Postgres is what the door asks. Run by tests/yardstick.rs."""

import json
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
LOADER = SourceFileLoader("load_postgres", str(BENCH / "load-postgres"))
load_postgres = module_from_spec(spec_from_loader(LOADER.name, LOADER))
LOADER.exec_module(load_postgres)


def log(statements):
    """As a door writes them down: short ones have no text beside the summary."""
    lines = [{"summary": statement} for statement in statements[:1]]
    lines += [{"summary": "SELECT a …", "db.statement": f"\n\n{statement}\n"} for statement in statements[1:]]
    return "\n".join(["what is no JSON", *(json.dumps(line) for line in lines)])


class Statements(unittest.TestCase):
    def setUp(self):
        self.asked = [f"SELECT 1{part} " for part, _, _ in load_postgres.STATEMENTS.values()]

    def test_each_is_taken_from_the_log_with_its_places_filled(self):
        found = load_postgres.found(log([*self.asked, *self.asked, "SELECT 2"]))
        self.assertEqual(found.keys(), load_postgres.STATEMENTS.keys())
        self.assertIn("LEFT JOIN accounts a ON a.email_normalised = 'person' || :n || '@example.com'", found["log-in by address"])
        self.assertFalse([sql for sql in found.values() if "$" in sql])
        hashed = load_postgres.found(log([asked + "WHERE substr(password_hash, 1, 2) = '$2'" for asked in self.asked]))
        self.assertTrue(all("'$2'" in sql for sql in hashed.values()))

    def test_one_that_the_door_does_not_ask_or_asks_in_two_ways_ends_the_run(self):
        for asked in (self.asked[1:], [*self.asked, self.asked[0] + "LIMIT 1"]):
            with self.assertRaisesRegex(SystemExit, "the door asks [02] such statements"):
                load_postgres.found(log(asked))

    def test_each_is_known_by_what_the_store_says(self):
        store = " ".join(" ".join(file.read_text().replace("\\\n", " ").split()) for file in BENCH.parent.glob("store/src/**/*.rs"))
        for name, (part, _, _) in load_postgres.STATEMENTS.items():
            self.assertIn(part.strip(), store, name)


if __name__ == "__main__":
    unittest.main()
