"""How the close shows on the command line: `stateward run month_end`, and `stateward demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from month_end.books import read_files
from month_end.generate import write_sample
from month_end.records import InputError, parse_period
from stateward.cli.workflows import Option, Start
from stateward.errors import ToolInputError

DEMO_PERIOD = "2026-10"


class MonthEndCommand:
    """The close's options, its sample data and its summary.

    Attributes:
        baseline_minutes: What one close of this size takes by hand, as controllers put it: about a working day.
    """

    baseline_minutes = 480.0
    options = (
        Option(name="period", help="The month to close, as YYYY-MM.", required=True),
        Option(name="bank", help="The bank statement, a CSV file.", type=Path, required=True),
        Option(name="ledger", help="The ledger, a CSV file.", type=Path, required=True),
        Option(name="out", help="Folder for the close pack.", type=Path, default=Path("out")),
        Option(name="mail-to", help="Who receives the close pack; may be given several times.", many=True),
    )

    def prepare(self, options: dict[str, Any]) -> Start:
        """Read and check both files before anything is written.

        Raises:
            ToolInputError: with file, line, value and what is expected.
        """
        period, mail_to = str(options["period"]), cast("list[str]", options["mail_to"] or [])
        files = {name: str(Path(options[name]).resolve()) for name in ("bank", "ledger", "out")}
        try:
            month = parse_period(period)
            read_files(period, files["bank"], files["ledger"], files["out"], mail_to)
        except InputError as error:
            raise ToolInputError(str(error)) from error
        state = {"period": month.key, **files, "mail_to": mail_to}
        return Start(thread=f"month_end-{month.key}", input=state, subject=f"period:{month.key}")

    def demo(self, directory: Path) -> dict[str, Any]:
        """The seeded sample: 1,500 bank lines and 2,000 ledger lines with planted differences."""
        sample = write_sample(directory, period=DEMO_PERIOD)
        return {"period": DEMO_PERIOD, "bank": sample.bank, "ledger": sample.ledger, "out": directory}

    def describe(self, state: dict[str, Any]) -> list[str]:
        """The planner's summary, and where the close pack is."""
        messages = cast("list[Any]", state.get("messages") or [])
        lines = str(messages[-1].text).splitlines() if messages else []
        pack = cast("dict[str, Any]", state.get("pack") or {})
        return [*lines, *([f"Summary for reading: {pack['markdown']}"] if pack else [])]
