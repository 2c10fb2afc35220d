"""`python -m benchmarks.personal_data [--only accuracy,speed] [--quick] [--ner-model MODEL]`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from benchmarks import machine
from benchmarks.personal_data import accuracy, speed
from benchmarks.table import Table, summary
from stateward.adapters.detection.presidio import PresidioRedactor
from stateward.personal_data.treating import DEFAULT_ENTITIES

_PARTS = ("accuracy", "speed")


def main() -> int:
    """Measure and print; a goal that is missed is only said."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.personal_data", description="Find personal data.")
    parser.add_argument("--only", choices=_PARTS, help="one of the two parts")
    parser.add_argument("--quick", action="store_true", help="few repetitions: a first look")
    parser.add_argument("--ner-model", metavar="MODEL", help="an installed spaCy model, or its path, for accuracy")
    arguments = parser.parse_args()
    tables: list[Table] = []
    if arguments.only != "speed":
        redactor = PresidioRedactor(ner_model=arguments.ner_model, timeout_seconds=50)
        tables += asyncio.run(accuracy.tables(redactor, DEFAULT_ENTITIES))
    if arguments.only != "accuracy":
        tables += speed.tables(1 if arguments.quick else 5)
    for table in [machine.facts(), *tables, summary(tables)]:
        print(f"{table.markdown()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
