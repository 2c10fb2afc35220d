"""The `stateward` command. What a command needs is imported when it runs, so that `--help` is fast.

Exit codes: 0 done, 1 refused or failed, 2 bad input, 3 the run waits for an approval, 130 interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stateward.cli.exits import Commands

_HELP = """Run governed workflows, decide what they ask, and check what they did.

Exit codes: 0 done, 1 refused or failed, 2 bad input, 3 the run waits for an approval, 130 interrupted.
"""

app = typer.Typer(
    cls=Commands,
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
audit = typer.Typer(help="Check the audit trail, or export it.", no_args_is_help=True)
policy = typer.Typer(help="Check, explain, test and compare policies.", no_args_is_help=True)
keys = typer.Typer(help="The master keys, and what each of them wraps; or rotate them.")
threads = typer.Typer(help="All threads, newest first; or bring some over from LangGraph's own tables.")
holds = typer.Typer(help="The subjects on legal hold; or place and end one.")
delegations = typer.Typer(help="Who decides for whom; or end it.")
app.add_typer(audit, name="audit")
app.add_typer(delegations, name="delegations")
app.add_typer(holds, name="holds")
app.add_typer(keys, name="keys")
app.add_typer(policy, name="policy")
app.add_typer(threads, name="threads")

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, in a stable shape.")]
ApproveAs = Annotated[
    str | None,
    typer.Option("--approve-as", metavar="NAME", help="Decide as NAME. Without a terminal, approve as NAME."),
]
Model = Annotated[
    str | None,
    typer.Option(metavar="PROVIDER:MODEL", help="Another planner: openai:... or bedrock_converse:..."),
]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A new value; repeatable.")]
Arguments = Annotated[str | None, typer.Option(metavar="JSON", help="All arguments, as a JSON object.")]
WorkflowPath = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The workflow, or the path of its folder, if it is not found."),
]
Thread = Annotated[str | None, typer.Option(metavar="ID", help="Only this thread.")]
Author = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who says so; the system's user unless stated.")
]
Tenant = Annotated[str, typer.Option(metavar="NAME", help="The organisation.")]
Requester = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Who asks for the work; the operating system's user unless stated."),
]


def main() -> None:
    """The console script."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"stateward {version('stateward')}")
        raise typer.Exit


@app.callback()
def stateward(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The options of every command; `exits.Commands` reads `debug`."""


@app.command()
def demo(
    workflow: Annotated[str, typer.Argument(metavar="[WORKFLOW]")] = "month_end",
    out: Annotated[Path, typer.Option(help="Folder for sample data and results.")] = Path("stateward-demo"),
    approve_as: ApproveAs = None,
    model: Model = None,
) -> None:
    """Run the month-end close on sample data, stopping where a person has to decide."""
    typer.echo(f"stateward {workflow}: starting on sample data in {out}")  # before the seconds of imports
    from stateward.cli import run as runs

    wishes = runs.Wishes(model=model, approve_as=approve_as)
    raise typer.Exit(runs.demo(workflow, out, wishes))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def run(
    context: typer.Context,
    workflow: Annotated[
        str,
        typer.Argument(
            metavar="WORKFLOW", show_default=False, help="Its name below ./graphs, or the path of its folder."
        ),
    ] = "--help",
    model: Model = None,
    requester: Requester = None,
    thread: Annotated[
        str | None, typer.Option(metavar="ID", help="Exactly this thread, instead of one by number.")
    ] = None,
    approve_as: ApproveAs = None,
) -> None:
    """Run a workflow with its own options, such as --period 2026-10; an unfinished run goes on."""
    from stateward.cli import run as runs

    if "--help" in (workflow, *context.args):
        typer.echo(context.get_help())
        typer.echo(runs.options_of(workflow), nl=False)
        raise typer.Exit(0)
    wishes = runs.Wishes(model=model, requester=requester, thread=thread, approve_as=approve_as)
    raise typer.Exit(runs.run(workflow, context.args, wishes))


@app.command()
def resume(
    thread: Annotated[str, typer.Argument(metavar="THREAD")],
    approve_as: ApproveAs = None,
    model: Model = None,
    workflow: WorkflowPath = None,
) -> None:
    """Go on with a thread that was decided, or that a crash cut off."""
    from stateward.cli import run as runs

    raise typer.Exit(runs.resume(thread, workflow, runs.Wishes(model=model, approve_as=approve_as)))


@app.command()
def abandon(
    thread: Annotated[str, typer.Argument(metavar="THREAD")],
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")],
    by: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Who abandons it; the system's user unless stated.")
    ] = None,
    workflow: WorkflowPath = None,
    as_json: Json = False,
) -> None:
    """End a thread for good, and undo what it has done; run it again to go on after a decision."""
    from stateward.cli import abandoning

    raise typer.Exit(abandoning.abandon(thread, reason=reason, by=by, workflow=workflow, as_json=as_json))


@app.command()
def inbox(thread: Thread = None, as_json: Json = False) -> None:
    """What waits for people."""
    from stateward.cli import reading

    reading.inbox(thread=thread, as_json=as_json)


@app.command()
def show(id_: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Exactly what one approval asks, and why."""
    from stateward.cli import reading

    reading.show(id_, as_json=as_json)


@app.command()
def decide(
    id_: Annotated[str, typer.Argument(metavar="ID")],
    decision: Annotated[
        str, typer.Argument(help="approve, edit, reject or respond; after a crash: done, retry or give_up.")
    ],
    by: Annotated[str, typer.Option("--as", metavar="NAME", help="Who decides: an id, as the policy names people.")],
    reason: Annotated[str, typer.Option(help="Why, for reject; the answer, for respond.")] = "",
    sets: Set = None,
    arguments: Arguments = None,
    confirm: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What has to be typed to approve it; asked for at a terminal.")
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE", help="A role of theirs that the policy does not give them; repeatable."),
    ] = None,
    workflow: WorkflowPath = None,
    as_json: Json = False,
) -> None:
    """Decide an approval; `edit` takes --set or --arguments and is judged again."""
    from stateward.cli import reading

    said = reading.Said(
        decision=decision,
        by=by,
        reason=reason,
        sets=sets or (),
        arguments=arguments,
        confirm=confirm,
        roles=role or (),
    )
    reading.decide(id_, said, workflow=workflow, as_json=as_json)


@app.command()
def delegate(
    to: Annotated[str, typer.Argument(metavar="NAME", help="Who decides instead.")],
    by: Annotated[str, typer.Option("--as", metavar="NAME", help="Whose right it is.")],
    until: Annotated[str, typer.Option(metavar="TIME", help="14d, or 2026-12-24T18:00 in UTC.")],
    role: Annotated[
        list[str] | None, typer.Option(metavar="ROLE", help="A role that goes with it; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let somebody else decide what you may, for a time; both of you stay excluded where one is."""
    from stateward.cli import standing_in

    standing_in.delegate(by, to, until=until, roles=role or [], as_json=as_json)


@delegations.callback(invoke_without_command=True)
def delegations_list(context: typer.Context, as_json: Json = False) -> None:
    """Who decides for whom; or end it."""
    if context.invoked_subcommand is None:
        from stateward.cli import standing_in

        standing_in.delegations(as_json=as_json)


@delegations.command("end")
def delegations_end(
    id_: Annotated[str, typer.Argument(metavar="ID")],
    by: Annotated[str, typer.Option("--as", metavar="NAME", help="One of the two people.")],
    as_json: Json = False,
) -> None:
    """End a delegation at once."""
    from stateward.cli import standing_in

    standing_in.end(id_, by=by, as_json=as_json)


@app.command()
def tick(as_json: Json = False) -> None:
    """Do what is due by the clock: questions lapse or are escalated, people are reminded. For a scheduler."""
    from stateward.cli import standing_in

    standing_in.tick(as_json=as_json)


@app.command()
def sweep(as_json: Json = False) -> None:
    """Delete what is not kept any longer, of memory, threads and pseudonyms, but for legal holds. For a scheduler."""
    from stateward.cli import retention

    retention.sweep(as_json=as_json)


@app.command()
def forget(
    subject: Annotated[str, typer.Option(help="Whom or what to forget, such as customer:17.")],
    by: Author = None,
    tenant: Tenant = "default",
    receipt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the sealed receipt there.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a subject: its threads end, keys are destroyed, memory goes. Interrupted, run it again."""
    from stateward.cli import retention

    raise typer.Exit(retention.forget(subject, by=by, tenant=tenant, out=receipt, as_json=as_json, sure=yes))


@app.command()
def receipt(file: Annotated[Path, typer.Argument(metavar="FILE")], as_json: Json = False) -> None:
    """Check that the receipt of an erasure is what was sealed here."""
    from stateward.cli import retention

    raise typer.Exit(retention.check_receipt(file, as_json=as_json))


@app.command()
def export(
    subject: Annotated[str, typer.Option(help="Whom or what it is about.")],
    by: Author = None,
    tenant: Tenant = "default",
) -> None:
    """Print all that is known of a subject as JSON; that you did so is in the trail."""
    from stateward.cli import retention

    retention.export(subject, by=by, tenant=tenant)


@holds.callback(invoke_without_command=True)
def holds_list(context: typer.Context, as_json: Json = False) -> None:
    """The subjects on legal hold; or place and end one."""
    if context.invoked_subcommand is None:
        from stateward.cli import retention

        retention.holds(as_json=as_json)


@holds.command("place")
def holds_place(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT")],
    reason: Annotated[str, typer.Option(help="Why.")],
    by: Author = None,
    tenant: Tenant = "default",
) -> None:
    """Keep all that is known of a subject: nothing of it is swept or erased."""
    from stateward.cli import retention

    retention.hold(subject, reason=reason, by=by, tenant=tenant)


@holds.command("end")
def holds_end(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT")], by: Author = None, tenant: Tenant = "default"
) -> None:
    """Let retention and erasure go on."""
    from stateward.cli import retention

    raise typer.Exit(retention.end_hold(subject, by=by, tenant=tenant))


@app.command()
def timeline(
    thread: Annotated[str, typer.Argument(metavar="THREAD")],
    everything: Annotated[bool, typer.Option("--all", help="Every entry, one a line.")] = False,
    as_json: Json = False,
) -> None:
    """Who did what, and when."""
    from stateward.cli import reading

    reading.show_timeline(thread, everything=everything, as_json=as_json)


@app.command()
def metrics(thread: Annotated[str | None, typer.Argument(metavar="[THREAD]")] = None, as_json: Json = False) -> None:
    """How the workflows went: completion, approvals, waiting, errors, time saved."""
    from stateward.cli import reading

    reading.show_metrics(thread, as_json=as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """What is running where, which versions, and what is missing."""
    from stateward.cli import doctor as doctors

    raise typer.Exit(doctors.doctor(as_json=as_json))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 8080,
    workflow: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A workflow whose edits are judged here; repeatable.")
    ] = None,
    privacy_role: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="The role that may forget, export and hold subjects; nobody unless stated."),
    ] = None,
) -> None:
    """Serve the HTTP API: threads, actions, approvals, the timeline, and the rights of subjects."""
    from stateward.cli import serving

    raise typer.Exit(serving.serve(host=host, port=port, workflows=workflow or (), privacy_role=privacy_role))


@app.command()
def stop(force: Annotated[bool, typer.Option(help="Even while others use it.")] = False) -> None:
    """Stop the embedded Postgres."""
    from stateward.adapters.embedded import EmbeddedServer
    from stateward.runtime import embedded_root
    from stateward.settings import Settings

    server = EmbeddedServer(embedded_root(Settings.from_environment()))
    typer.echo("stopped" if server.stop(force=force) else "it was not running")


@audit.command("verify")
def audit_verify(
    thread: Thread = None,
    file: Annotated[Path | None, typer.Option(help="An export, checked without a database.")] = None,
    as_json: Json = False,
) -> None:
    """Recompute every hash chain."""
    from stateward.cli import trail

    raise typer.Exit(trail.verify(thread=thread, file=file, as_json=as_json))


@audit.command("export")
def audit_export(thread: Thread = None) -> None:
    """Print the audit trail as JSON lines."""
    from stateward.cli import trail

    raise typer.Exit(trail.export(thread=thread))


@keys.callback(invoke_without_command=True)
def keys_show(context: typer.Context, as_json: Json = False) -> None:
    """The master keys, which of them is current, and how many data keys each wraps; never a secret."""
    if context.invoked_subcommand is None:
        from stateward.cli import keys as key_commands

        raise typer.Exit(key_commands.show(as_json=as_json))


@keys.command("rotate")
def keys_rotate(as_json: Json = False) -> None:
    """Wrap every data key with a new master key; with those of the environment or AWS KMS, with the current one."""
    from stateward.cli import keys as key_commands

    raise typer.Exit(key_commands.rotate(as_json=as_json))


@threads.callback(invoke_without_command=True)
def threads_show(context: typer.Context, as_json: Json = False) -> None:
    """All threads, newest first; or bring some over from LangGraph's own tables."""
    if context.invoked_subcommand is None:
        from stateward.cli import reading

        reading.threads(as_json=as_json)


@threads.command("import")
def threads_import(
    uri: Annotated[
        str,
        typer.Option("--from", metavar="URL", help="The database they are in, if it is another.", show_default=False),
    ] = "",
    schema: Annotated[
        str | None, typer.Option(metavar="NAME", help="The schema; `stateward`, else `public`, unless stated.")
    ] = None,
    thread: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this thread; repeatable.")] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Delete each there, once it is here and the same.")] = False,
    as_json: Json = False,
) -> None:
    """Bring over the threads that release 0.1.0, or LangGraph's own PostgresSaver, has kept."""
    from stateward.cli import importing

    wishes = importing.Wishes(uri=uri, schema=schema, threads=thread or (), drop=drop)
    raise typer.Exit(importing.bring(wishes, as_json=as_json))


@policy.command("check")
def policy_check(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    workflow: Annotated[str, typer.Option(metavar="NAME", help="Whose tools it has to fit.")],
    as_json: Json = False,
) -> None:
    """Check a policy file against a workflow's tools."""
    from stateward.cli import policies

    raise typer.Exit(policies.check(file, workflow=workflow, as_json=as_json))


@policy.command("explain")
def policy_explain(
    tool: Annotated[str, typer.Argument(metavar="[TOOL]", show_default=False)] = "",
    action: Annotated[
        str,
        typer.Option("--action", metavar="ID", help="A recorded action, as it was judged then.", show_default=False),
    ] = "",
    answer: Annotated[str, typer.Option(metavar="ANSWER", help="An answer, no tool.", show_default=False)] = "",
    workflow: Annotated[
        str | None, typer.Option(metavar="NAME", help="The workflow; with --action, if it is not found.")
    ] = None,
    sets: Set = None,
    arguments: Arguments = None,
    principal: Annotated[
        str, typer.Option(metavar="NAME", help="Who acts; the workflow's own unless stated.", show_default=False)
    ] = "",
    role: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A role of theirs; repeatable.")] = None,
    requester: Annotated[str, typer.Option(metavar="NAME", help="Who asks for the work.")] = "somebody",
    subject: Annotated[str, typer.Option(metavar="TEXT", help="Whom or what it is about.")] = "none",
    label: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A label of the thread; repeatable.")] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=ORIGIN", help="Where an argument was seen: person, trusted, untrusted; repeatable."),
    ] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUERY=VALUE", help="What the history says, such as 'history.count(\"1d\")=3'; repeatable."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """What the policy says to one call, or to one answer, rule by rule; nothing is run."""
    from stateward.cli import policies

    if action:
        raise typer.Exit(policies.explain_action(action, workflow=workflow, as_json=as_json))
    wishes = policies.Wishes(
        tool=tool,
        answer=answer,
        sets=sets or (),
        arguments=arguments,
        principal=principal,
        roles=role or (),
        requester=requester,
        subject=subject,
        labels=label or (),
        origins=origin or (),
        history=history or (),
    )
    raise typer.Exit(policies.explain(wishes, workflow=workflow, as_json=as_json))


@policy.command("test")
def policy_test(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    table: Annotated[Path, typer.Argument(metavar="TABLE.yaml")],
    workflow: Annotated[str, typer.Option(metavar="NAME", help="Whose tools are called.")],
    as_json: Json = False,
) -> None:
    """Judge a table of calls, and say where a verdict is not the expected one."""
    from stateward.cli import policies

    raise typer.Exit(policies.test(file, table, workflow=workflow, as_json=as_json))


@policy.command("diff")
def policy_diff(
    old: Annotated[Path, typer.Argument(metavar="OLD")],
    new: Annotated[Path, typer.Argument(metavar="NEW")],
    as_json: Json = False,
) -> None:
    """What a new policy changes, and whether each change loosens or tightens."""
    from stateward.cli import comparing

    raise typer.Exit(comparing.diff(old, new, as_json=as_json))


@policy.command("backtest")
def policy_backtest(
    file: Annotated[Path, typer.Option("--policy", metavar="FILE", help="The new policy.")],
    workflow: Annotated[str, typer.Option(metavar="NAME", help="Whose recorded actions are judged.")],
    agent: Annotated[
        str | None,
        typer.Option(metavar="PRINCIPAL", help="Those of the agent that acts as this, with the workflow's tools."),
    ] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back, such as 12h, 30d or 8w.")] = "30d",
    as_json: Json = False,
) -> None:
    """Judge recorded actions by a new policy: which would be judged differently."""
    from stateward.cli import comparing

    raise typer.Exit(comparing.backtest(file, workflow=workflow, agent=agent, since=since, as_json=as_json))


if __name__ == "__main__":
    main()
