"""Lists every problem that a caller can get, with its code, status, meaning and remedy.

The `type` of a problem is the address of its page, `/docs/problems/<code>` below AIMLINE_BASE_URL. GraphQL uses the
same codes. A test compares this list with the code.
"""

from typing import NamedTuple


class ProblemType(NamedTuple):
    """One type of problem, with its code, status, meaning and remedy."""

    status: int
    title: str
    advice: str


PAGES = "/docs/problems/"
READ_AGAIN = "Read the row again, and repeat the request if it still makes sense."
ASK_OPERATOR = "Ask the operator of this installation, and name the trace id."
CORRECT = "Correct the values that `violations` lists, and send the request again."
WAIT = "Wait as many seconds as Retry-After says, then send the same request again."
SMALLER = "Send a smaller GraphQL document, or fewer variables."
RESYNC = "Read the lists that you need, then start again at the beginning or the end of the feed."
ASK_SCOPE = "Ask the district for a client with the scope that `detail` names."

PROBLEM_TYPES = {
    "act_for.role": ProblemType(403, "This role opens nothing", "Act for a person whose role has access."),
    "answer.too_large": ProblemType(400, "The answer is too large", "Select fewer fields or rows in one operation."),
    "area.has_parts": ProblemType(409, "Areas below it are in force", "Retire the areas below it first."),
    "area.retired": ProblemType(409, "The area is retired", READ_AGAIN),
    "area.taken": ProblemType(409, "The code is taken", "Choose another code, or bring the retired area back."),
    "area.too_many": ProblemType(409, "Too many areas", "Rename a retired area, and bring it back."),
    "area.secured": ProblemType(403, "This area is secured", "Ask the district for the scope area:<code>."),
    "benchmark.retired": ProblemType(409, "The benchmark is not in force", READ_AGAIN),
    "body.media_type": ProblemType(415, "Unsupported media type", "Send the Content-Type that `detail` names."),
    "body.not_json": ProblemType(400, "The body is not JSON", "Send a JSON text in UTF-8."),
    "body.too_large": ProblemType(413, "The body is too large", "Send it in parts, each within the limit."),
    "break.out_of_reach": ProblemType(403, "The break is out of reach", "Use a client with the reach of the district."),
    "busy": ProblemType(429, "Too much at a time", WAIT),
    "client.secrets": ProblemType(409, "Two secrets are valid already", "Revoke one first."),
    "client.revoked": ProblemType(409, "The client is revoked", "Ask the district for a new client."),
    "concern.closed": ProblemType(409, "The concern is closed", "Raise a new concern, if there is one."),
    "concern.state": ProblemType(409, "The concern is in another state", READ_AGAIN),
    "core_stall.lapsed": ProblemType(409, "The data no longer support the core stall", "Nothing needs to be done."),
    "core_stall.settled": ProblemType(409, "The core stall is settled", READ_AGAIN),
    "conflict": ProblemType(409, "The present state does not allow this", READ_AGAIN),
    "conflict.concurrent": ProblemType(409, "Another request wrote the same data", READ_AGAIN),
    "connections.exhausted": ProblemType(503, "Too many connections", WAIT),
    "consumer.moved": ProblemType(409, "The consumer was moved", "Read its events again, then commit their `next`."),
    "consumer.reach": ProblemType(403, "A consumer belongs to a client", "Send the request without Aimline-Act-For."),
    "cost.exceeded": ProblemType(400, "The operation costs too much", "Ask for fewer rows or less depth at a time."),
    "database.busy": ProblemType(503, "The same data is being changed", WAIT),
    "database.slow": ProblemType(503, "This took too long", "Ask for less at a time, or try again later."),
    "database.unavailable": ProblemType(503, "The database is not available", WAIT),
    "document.fragment_cycle": ProblemType(400, "Fragments contain each other", SMALLER),
    "document.too_deep": ProblemType(400, "The document is too deep", SMALLER),
    "document.too_long": ProblemType(400, "The document is too long", SMALLER),
    "document.too_many_directives": ProblemType(400, "The document has too many directives", SMALLER),
    "document.too_repetitive": ProblemType(400, "The document repeats too much", SMALLER),
    "document.value_too_deep": ProblemType(400, "A value is too deep", SMALLER),
    "endpoint.closed": ProblemType(409, "The endpoint is paused or disabled", "Resume it first."),
    "feed.beyond": ProblemType(410, "The position is beyond the end of the feed", RESYNC),
    "feed.epoch": ProblemType(410, "The feed was restarted", RESYNC),
    "feed.expired": ProblemType(410, "The events are no longer kept", RESYNC),
    "forbidden": ProblemType(403, "Not allowed", ASK_SCOPE),
    "goal.unrealistic": ProblemType(
        422,
        "The goal requires more growth than the norms call realistic",
        "Set the goal that `figures` proposes, or a later date; or send the request again with `confirm_rate`.",
    ),
    "gone": ProblemType(410, "Kept no longer", "Read what you need from the lists."),
    "group.ended": ProblemType(409, "The group has ended", "Form a new group."),
    "group.structure_retired": ProblemType(409, "The group takes no new members", "Form another group."),
    "headers.too_large": ProblemType(431, "The headers are too large", "Send fewer or shorter headers."),
    "http": ProblemType(400, "The request failed", "See the status and `detail`."),
    "http.malformed": ProblemType(400, "This is not an HTTP request", "Send HTTP/1.1 through an ordinary client."),
    "idempotency.in_flight": ProblemType(409, "The first request with this key has not ended", WAIT),
    "idempotency.mismatch": ProblemType(422, "The key belongs to another request", "Use a new key for a new request."),
    "idempotency.out_of_reach": ProblemType(
        410, "The first answer cannot be shown", "Read the rows that you may see; the request was carried out."
    ),
    "hypothesis.closed": ProblemType(409, "The hypothesis is closed", "Propose another one."),
    "hypothesis_kind.retired": ProblemType(409, "The kind of hypothesis is not in force", READ_AGAIN),
    "idempotency.answer_not_kept": ProblemType(
        410, "The first answer was not kept", "Read the rows; the request was carried out."
    ),
    "incident_kind.retired": ProblemType(409, "The kind of incident is not in force", READ_AGAIN),
    "internal": ProblemType(500, "An internal fault", f"Nothing was changed. {ASK_OPERATOR}"),
    "intervention.state": ProblemType(409, "The version is in another state", READ_AGAIN),
    "intervention.too_many": ProblemType(409, "Too many entries", "Retire entries that nobody uses."),
    "invalid": ProblemType(422, "Invalid values", CORRECT),
    "level.only_one": ProblemType(409, "The only level in force", "Add another level first."),
    "level.retired": ProblemType(409, "The level is retired", READ_AGAIN),
    "level.too_many": ProblemType(409, "Too many levels", "Bring a retired level back, and rename it."),
    "malformed": ProblemType(400, "Bad request", CORRECT),
    "measure.taken": ProblemType(409, "The code is taken", "Amend the measure of this code, or choose another code."),
    "method": ProblemType(405, "The path does not support the method", "Use one of the methods in Allow."),
    "not_found": ProblemType(
        404, "Not found", "Check the id. A row outside of the caller's reach looks the same as one that does not exist."
    ),
    "note.of_another": ProblemType(403, "The note is another author's", "Write a note of your own."),
    "operation.timeout": ProblemType(503, "The operation took too long", "Ask for less at a time."),
    "operation.too_much": ProblemType(400, "The operation asks for too much", "Ask for less at a time."),
    "origin.unknown": ProblemType(
        403, "No client has registered this origin", "Ask the operator to register the page's origin for its client."
    ),
    "outcome.unknown": ProblemType(
        503, "The outcome is not known", "Read the row or the change feed before you repeat a change without a key."
    ),
    "overloaded": ProblemType(503, "Too much to do", WAIT),
    "permission.missing": ProblemType(403, "A permission is missing", ASK_SCOPE),
    "query.too_many": ProblemType(400, "The address has too many parameters", "Send fewer filters at a time."),
    "queue.full": ProblemType(429, "Too many requests are waiting", WAIT),
    "queue.timeout": ProblemType(503, "The request waited too long", WAIT),
    "rate.limited": ProblemType(429, "A quota is used up", WAIT),
    "rekey.match": ProblemType(409, "Nobody can be matched", "Choose another way to match, or give a map."),
    "request.half_sent": ProblemType(408, "The request was not completed in time", "Send it again."),
    "route.unknown": ProblemType(404, "There is no such path", "See the contract, /openapi.json."),
    "run.changed_since": ProblemType(409, "A later run changed the same rows", "Undo the later run first."),
    "run.expired": ProblemType(409, "The former values are no longer kept", "Correct the rows in the SIS, then sync."),
    "run.mode": ProblemType(409, "The run cannot have this mode", "See `detail`; request it without a mode."),
    "run.not_applied": ProblemType(409, "The run was not applied", "Only a run that was applied can be undone."),
    "run.not_held": ProblemType(409, "The run is not held", READ_AGAIN),
    "run.plan_changed": ProblemType(409, "The plan is another one by now", "Read the report again, then approve."),
    "run.roster_busy": ProblemType(409, "Records of these students are being changed", "Run the sync again."),
    "run.roster_changed": ProblemType(409, "The roster has changed since the plan", "Run the sync again."),
    "run.superseded": ProblemType(409, "The run was given to another worker", "Read the newest run of the source."),
    "run.taken_up": ProblemType(409, "The run was given to another worker", "Read the newest run of the source."),
    "run.undone": ProblemType(409, "The run is undone already", READ_AGAIN),
    "server.stopping": ProblemType(503, "The server is stopping", WAIT),
    "shape": ProblemType(422, "Unexpected shape", f"{CORRECT} For parameters and headers the status is 400."),
    "screening.cancelled": ProblemType(409, "The window was cancelled", "Schedule another window."),
    "screening.closed": ProblemType(409, "The window is closed", "Its results are kept as they were."),
    "screening.out_of_reach": ProblemType(
        403, "The window is out of reach", "Use a client with the reach of the window's schools."
    ),
    "meeting.scheduled": ProblemType(409, "The meeting has not been opened", "Open it first."),
    "meeting.open": ProblemType(409, "The meeting is open", READ_AGAIN),
    "meeting.closed": ProblemType(409, "The meeting is closed", READ_AGAIN),
    "meeting.cancelled": ProblemType(409, "The meeting is cancelled", "Schedule another one."),
    "meeting.another_open": ProblemType(409, "Another meeting of the team is open", "Close it first."),
    "meeting.unsettled": ProblemType(409, "Items of the agenda are open", "Settle or carry them."),
    "agenda_item.settled": ProblemType(409, "The item is settled", READ_AGAIN),
    "agenda_item.suspended": ProblemType(409, "The item is on no agenda", "It returns with the student."),
    "meeting_series.ended": ProblemType(409, "The series has ended", "Schedule another one."),
    "meeting_series.too_many": ProblemType(409, "Too many series", "End a series that the team does not need."),
    "calendar_link.revoked": ProblemType(409, "The calendar link is revoked", "Create another one."),
    "protocol.retired": ProblemType(409, "The protocol is retired", READ_AGAIN),
    "signal.lapsed": ProblemType(409, "The data no longer bear the signal out", "Nothing needs to be done."),
    "signal.settled": ProblemType(409, "The signal is settled", READ_AGAIN),
    "signal_rule.retired": ProblemType(409, "The rule is retired", READ_AGAIN),
    "sis.already_running": ProblemType(409, "A run of the source is pending", "Wait until it has ended."),
    "sis.nothing_new": ProblemType(409, "The source has nothing new", "Nothing needs to be done."),
    "sis.source_inconsistent": ProblemType(409, "The source contradicts itself", "See the run; correct it in the SIS."),
    "sis.source_refused": ProblemType(409, "The source refused the request", "Check its address and its credentials."),
    "source.kind": ProblemType(409, "The source is of another kind", "Name a source of the kind that `detail` names."),
    "source.taken": ProblemType(409, "The name is taken", "Choose another name, or change the source of this name."),
    "storage.full": ProblemType(507, "A disk is full", ASK_OPERATOR),
    "support.ended": ProblemType(409, "The support has ended", "Plan a new support."),
    "support.state": ProblemType(409, "The support is in another state", READ_AGAIN),
    "support.no_measure": ProblemType(409, "The support has no measure", "It has a review date only."),
    "support.suspended": ProblemType(
        409, "The support is suspended", "Wait until the student is back, or end the support."
    ),
    "action_item.closed": ProblemType(409, "The action item is closed", "Agree a new one."),
    "action_item.no_person": ProblemType(
        403,
        "The request acts for nobody",
        "Name the person by Aimline-Act-For.",
    ),
    "team.archived": ProblemType(409, "The team is archived", "Form a new team."),
    "team.member_already": ProblemType(409, "The person is a member already", READ_AGAIN),
    "team.membership_ended": ProblemType(409, "The membership has ended", "Add the person again."),
    "team.out_of_reach": ProblemType(
        403, "The team is out of reach", "Use a client or person with the reach of the team's school, or the district."
    ),
    "team.scope_ended": ProblemType(409, "The scope has ended", "Have the team serve these students again."),
    "team.serves_already": ProblemType(409, "The team serves them already", READ_AGAIN),
    "unauthenticated": ProblemType(401, "Who is asking?", "Send a Bearer token of /oauth/token."),
    "upload.busy": ProblemType(429, "Two uploads are being received", WAIT),
    "variables.too_deep": ProblemType(400, "The variables are too deep", SMALLER),
    "variables.too_large": ProblemType(400, "The variables are too large", SMALLER),
    "streams.too_many": ProblemType(429, "Too many streams", WAIT),
    "test_clock.missing": ProblemType(
        409, "This district has no test clock", "Use a sandbox district, made by `aimline district create --sandbox`."
    ),
    "version.mismatch": ProblemType(412, "The row has changed", READ_AGAIN),
    "version.required": ProblemType(428, "Name the version", "Send If-Match with the ETag that you have read."),
    "webhook.reach": ProblemType(403, "An endpoint belongs to a client", "Send the request without Aimline-Act-For."),
}


def address_of(code: str, base_url: str) -> str:
    """Returns the address of a problem's page, which is the `type` of the problem."""
    return f"{base_url.rstrip('/')}{PAGES}{code}"
