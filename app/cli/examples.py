"""Lists one example for each command, which is shown at the end of the command's help text.

A test parses every example.
"""

import typer

CLIENT = "cli_01m8h8xc9jewsa39ybg7xdmhv9"
RUN = "run_01m8h8xc9jewsa39ybg7xdmhv9"
EXAMPLES: dict[str, str] = {
    "serve": "aimline serve --host 0.0.0.0 --behind-proxy --workers 2",
    "worker": "aimline worker",
    "migrate": "aimline migrate",
    "schema": "aimline schema --json",
    "backup": "aimline backup /var/backups/aimline-2026-11-28",
    "restore": "aimline restore /var/backups/aimline-2026-11-28",
    "judge": "aimline judge < series.jsonl > verdicts.jsonl",
    "calibrate": "aimline calibrate --district springfield",
    "doctor": "aimline doctor --district springfield --repair",
    "explain": "aimline explain '/v1/concerns?state=raised&expand=student' --district springfield",
    "scaffold": "aimline scaffold home_visit --room concern --prefix hov",
    "contracts": "aimline contracts --check",
    "key new": "aimline key new > key",
    "district create": 'aimline district create springfield --name "Springfield" --time-zone America/Chicago',
    "district list": "aimline district list",
    "district show": "aimline district show springfield",
    "district new-epoch": "aimline district new-epoch springfield",
    "district reminders": "aimline district reminders springfield concern_unanswered=5",
    "district maintain": "aimline district maintain springfield --task signals",
    "client create": 'aimline client create --district springfield --scope "roster:read support:read" --name "Reading"',
    "client list": "aimline client list --district springfield",
    "client show": f"aimline client show {CLIENT} --district springfield",
    "client origins": f"aimline client origins {CLIENT} --district springfield --origin https://app.example.org",
    "client grant": f"aimline client grant {CLIENT} --district shelbyville --scope roster:read",
    "client rotate": f"aimline client rotate {CLIENT} --district springfield --revoke-others",
    "client revoke": f"aimline client revoke {CLIENT} --district springfield",
    "client scopes": "aimline client scopes",
    "token revoke": "aimline token revoke < token.txt",
    "sis add": "aimline sis add --district springfield --name nightly --kind oneroster-1.1 "
    "--url https://sis.example.org/ims/oneroster/v1p1/ --client-id aimline --client-secret-file secret "
    '--schedule "0 2 * * *"',
    "sis set": 'aimline sis set nightly --district springfield --schedule "0 3 * * *"',
    "sis list": "aimline sis list --district springfield",
    "sis show": "aimline sis show nightly --district springfield",
    "sis doctor": "aimline sis doctor nightly --district springfield",
    "sis remove": "aimline sis remove nightly --district springfield",
    "sis pause": "aimline sis pause nightly --district springfield",
    "sis resume": "aimline sis resume nightly --district springfield",
    "sis forget": "aimline sis forget sis:nightly:12345 --district springfield",
    "sis alerts": "aimline sis alerts --district springfield --email it@springfield.example",
    "sync scores": "aimline sync scores fall.csv --district springfield --source screening --dry-run",
    "sync diff": f"aimline sync diff {RUN} --district springfield --kind person --json",
    "sync csv": "aimline sync csv roster.zip --district springfield --source nightly --dry-run",
    "sync run": "aimline sync run nightly --district springfield",
    "sync status": "aimline sync status --district springfield",
    "sync report": f"aimline sync report {RUN} --district springfield",
    "sync approve": f"aimline sync approve {RUN} --district springfield --plan 4f1c9a",
    "sync discard": f"aimline sync discard {RUN} --district springfield",
    "sync history": "aimline sync history sis:nightly:12345 --district springfield",
    "sync rekey": f"aimline sync rekey {RUN} --district springfield --match email --out new-ids.csv",
    "sync quarantine": f"aimline sync quarantine {RUN} --district springfield > refused.csv",
    "sync acknowledge": f"aimline sync acknowledge {RUN} --district springfield --row users.csv:17",
    "sync undo": f"aimline sync undo {RUN} --district springfield",
    "sandbox export": "aimline sandbox export district.zip --students 500",
    "sandbox sis": "aimline sandbox sis --port 9000",
    "sandbox scores": "aimline sandbox scores fall.csv --students 300",
    "sandbox quirks": "aimline sandbox quirks",
}


def add_examples(app: typer.Typer, path: str = "") -> None:
    """Adds an example to the end of the help text of every command in an app and in the app's groups."""
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "").replace("_", "-")
        if example := EXAMPLES.get(f"{path} {name}".strip()):
            command.epilog = f"Example: {example}"
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_examples(group.typer_instance, f"{path} {group.name}".strip())
