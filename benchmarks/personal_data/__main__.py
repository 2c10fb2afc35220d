"""`python -m benchmarks.personal_data [--quick] [--ner-model MODEL]`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from benchmarks.personal_data import accuracy
from benchmarks.table import summary
from stateward.adapters.presidio import PresidioRedactor
from stateward.remember.personal_data import DEFAULT_ENTITIES


def main() -> int:
    """Measure and print; a goal that is missed is said."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.personal_data", description=__doc__)
    parser.add_argument("--ner-model", metavar="MODEL", help="an installed spaCy model, or its path")
    arguments = parser.parse_args()
    redactor = PresidioRedactor(ner_model=arguments.ner_model, timeout_seconds=50)
    tables = asyncio.run(accuracy.tables(redactor, DEFAULT_ENTITIES))
    for table in [*tables, summary(tables)]:
        print(f"{table.markdown()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
