"""Turns the report of a run into text that tells a person what to do next. Contains no student's data and no name."""

from app.core import ids
from app.sis.engine.report import FIRST, Report, describe_rekey
from app.sis.rules import RunState

WIDTH = 22
COLUMNS = ("known", "fetched", "created", "updated", "removed", "absent", "quarantined")


def render_report(report: Report) -> str:
    """Returns the report of a run as text, with its counts, first errors and next steps.

    It also says which limits on changes the run exceeded.
    """
    shown = ids.format_id("run", report.run_id)
    ended = report.ended_at.strftime("%Y-%m-%d %H:%M UTC") if report.ended_at else "not ended"
    lines = [f"{shown}: {report.state}{f', {report.mode}' if report.mode else ''}, {ended}", report.sentence, ""]
    kinds = [(name, counts) for name, counts in report.kinds.items() if counts.file or counts.known]
    if kinds:
        lines.append("".join([f"{'':{WIDTH}}", *(f"{column:>12}" for column in COLUMNS)]))
        lines += [
            "".join([f"{name:{WIDTH}}", *(f"{getattr(counts, column):>12,}" for column in COLUMNS)])
            for name, counts in kinds
        ]
        lines.append("")
    lines += [f"{'HELD ' if result['held'] else 'within '}{render_guard_result(result)}" for result in report.weighed]
    lines += [
        f"In quarantine: {refusal.file} row {refusal.row}, {refusal.sourced_id or 'no id'}, "
        f"{refusal.field}: {refusal.code}"
        for refusal in report.refusals
    ]
    lines += render_rekeys(report)
    lines += [f"Moved to their student's schools: {rows:,} of {name}" for name, rows in report.repaired.items()]
    lines += [f"Not imported: {file}" for file in report.not_taken]
    lines += [f"Note: {warning}" for warning in report.warnings]
    lines += ["", "What to do next:", *(f"* {step}" for step in next_steps(report))]
    return "\n".join(lines) + "\n"


def render_rekeys(report: Report) -> list[str]:
    """Returns the lines of a report about people who likely have a new sourcedId.

    There is one line for each person, up to `FIRST` people, and then lines with the commands that can be run for them.
    """
    lines = [
        f"{describe_rekey(rekey)}{'; set aside: the known one stays, what came waits' if rekey['set_aside'] else ''}"
        for rekey in report.rekeys[:FIRST]
    ]
    if len(report.rekeys) > FIRST:
        lines.append(f"… and {len(report.rekeys) - FIRST:,} more: `aimline sync report --json` has all of them.")
    shown, of = ids.format_id("run", report.run_id), "--district DISTRICT"
    command = f"aimline sync rekey {shown} {of} --match likely"
    reused = [rekey for rekey in report.rekeys if rekey.get("reused")]
    same = [rekey for rekey in report.rekeys if not rekey.get("reused")]
    if report.state == RunState.HELD:
        if same:
            lines.append(f"To keep these people: {command}")
        if reused:
            lines.append(f"If these ids are other people's now, to keep the records with the known people: {command}")
    elif report.state == RunState.APPLIED:
        if not all(rekey["set_aside"] for rekey in same):
            lines.append("Those who are not set aside came as new people, without records to lose.")
        if same:
            lines.append(f"If they are the same people: {command}")
        if waiting := [rekey["old"] for rekey in reused if rekey["set_aside"]]:
            lines.append("If the source has confused the people, correct it there: the next run imports them.")
            lines.append(f"If these ids are other people's now: {command}")
            lines.append(
                f"If {waiting[0]} is the same person: aimline sync acknowledge {shown} {of} --same-person {waiting[0]}"
            )
    return lines


def render_guard_result(result: dict[str, object]) -> str:
    """Returns how a plan compares with one limit, as text such as `removed people: 90 of 1,000, limit 10% over 25`."""
    limit = (
        f"limit {float(str(result['limit'])):.0%} over {int(str(result['rows'])):,}"
        if result["rule"] != "empty"
        else "none came"
    )
    return f"{result['rule']} {result['what']}: {int(str(result['count'])):,} of {int(str(result['of'])):,}, {limit}"


def next_steps(report: Report) -> list[str]:
    """Returns sentences that tell a person what to do after a run.

    The sentences contain commands with placeholders, such as DISTRICT for the name of the district.
    """
    shown, of = ids.format_id("run", report.run_id), "--district DISTRICT"
    held = {result["rule"] for result in report.weighed if result["held"]}
    steps = []
    if report.state == RunState.HELD:
        steps.append("Check the source first: does it send the right data? If not, correct it and run the sync again.")
        if "rekeyed" in held:
            steps.append(f"People come back under other ids: aimline sync rekey {shown} {of} --match identifier")
        if report.plan:
            steps.append(f"To see who and what it would change: aimline sync diff {shown} {of}")
            steps.append(f"To apply it as it is: aimline sync approve {shown} {of} --plan {report.plan['digest']}")
            if report.mode != "rekey":
                steps.append("To apply it for some schools or kinds only, add --school SCHOOL or --kind KIND.")
        if held & {"removed", "shrunk"}:
            steps.append("To apply everything but the removals, add --without-removals.")
        steps.append(f"To discard it: aimline sync discard {shown} {of}")
    elif report.state == RunState.FAILED_TO_APPLY:
        if report.plan:
            steps.append(f"To apply it again: aimline sync approve {shown} {of} --plan {report.plan['digest']}")
        steps.append(f"To discard it: aimline sync discard {shown} {of}")
    elif report.state == RunState.FAILED:
        steps.append(
            f"Nothing was changed. Check the source with: aimline sis doctor NAME {of}, then run the sync again."
        )
    elif report.state == RunState.DRY and report.listed:
        steps.append(f"To see who and what it would change: aimline sync diff {shown} {of}")
    elif report.state == RunState.SKIPPED:
        steps.append(f"Nothing, if no new export was due. To import it again: aimline sync run NAME {of} --full")
    elif report.state == RunState.APPLIED:
        steps.append(f"Nothing. To undo it: aimline sync undo {shown} {of}")
    if report.total("quarantined") > report.total("acknowledged"):
        steps.append(f"The rows in quarantine, for the SIS's clerk: aimline sync quarantine {shown} {of}")
        steps.append(
            "Correct the rows in quarantine at the source: the next run imports those that have changed there, and a "
            "full run imports all of them."
        )
    return steps or ["Nothing."]
