"""Check the ledger, here or in an export, and export it."""

from __future__ import annotations

from pathlib import Path

from stateward.audit.export import export_lines, verify_export
from stateward.cli import shapes
from stateward.cli.exits import DONE, FAILED, say
from stateward.cli.render import counted
from stateward.errors import ToolInputError
from stateward.model.ledger import AuditReport


def verify(*, thread: str | None, file: Path | None, as_json: bool) -> int:
    """Recompute every chain; with a file, without any database."""
    report = _of_database(thread) if file is None else _of_file(file, thread)
    if as_json:
        shapes.emit(shapes.report_json(report))
    else:
        _tell(report)
    return DONE if report.intact else FAILED


def export(*, thread: str | None) -> int:
    """Print the ledger as JSON lines; what is broken already is said."""
    from stateward.blocking import Runtime

    with Runtime.open(keep_running=True) as runtime:
        if thread:
            runtime.find_thread(thread)
        report = runtime.verify_audit(thread)
        entries = runtime.timeline(thread)
    for line in export_lines(entries):
        print(line)
    if report.intact:
        return DONE
    for one in report.breaks:
        say(f"broken: {one.thread} at {one.seq}: {one.problem} ({one.detail})")
    return FAILED


def _of_database(thread: str | None) -> AuditReport:
    from stateward.blocking import Runtime

    with Runtime.open(keep_running=True) as runtime:
        if thread:
            runtime.find_thread(thread)
        return runtime.verify_audit(thread)


def _of_file(file: Path, thread: str | None) -> AuditReport:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ToolInputError(f"{file}: cannot be read ({error})") from error
    return verify_export(text.split("\n"), file=str(file), thread=thread)


def _tell(report: AuditReport) -> None:
    found = f"{counted(report.entries, 'entry', 'entries')} in {counted(report.threads, 'thread')}"
    print(f"{found}: {'intact' if report.intact else 'BROKEN'}")
    for one in report.breaks:
        print(f"  {one.thread} at {one.seq}: {one.problem} ({one.detail})")
