"""Tests that the schema of the migrated database follows the project's rules, in every table.

Each check must also find a planted fault, in a transaction that is rolled back.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from app.access.policies import DISTRICT, policy
from app.settings import Settings
from app.sis.runs.rekey import plan_rekey
from tests.house import catalogue, privileges, staging
from tests.house.catalogue import Check
from tests.sis.test_held_locked import hold_rekeyed
from tests.town import Town

TABLE = "CREATE TABLE planted (district_id uuid NOT NULL, id uuid NOT NULL, {more} PRIMARY KEY (district_id, id))"
LOCK = "ALTER TABLE planted ENABLE ROW LEVEL SECURITY; ALTER TABLE planted FORCE ROW LEVEL SECURITY"
POLICY = "CREATE POLICY tenant ON planted {kind} TO api, worker USING ({using}) WITH CHECK ({check})"
GOOD = POLICY.format(kind="", using=DISTRICT, check=DISTRICT)


def planted(more: str = "", *, using: str = DISTRICT, check: str | None = None, kind: str = "") -> str:
    """Returns the SQL of a table that passes all checks. Each test then breaks one rule in it."""
    rule = POLICY.format(kind=kind, using=using, check=using if check is None else check)
    return f"{TABLE.format(more=more)}; {LOCK}; {rule}"


ABOUT = "student_id uuid NOT NULL, school_ids uuid[] NOT NULL, secured_area text,"
TO_ORG = "org_id uuid, CONSTRAINT to_org FOREIGN KEY ({here}) REFERENCES org ({there}) {does},"
FUNCTION = "CREATE FUNCTION app.planted() RETURNS bigint LANGUAGE sql {how} AS '{body}'"
DEFINER = FUNCTION.format(how="SECURITY DEFINER {path}", body="SELECT 1")
PINNED = f"SET search_path = {privileges.SEARCH_PATH}"
STAGED = "CREATE {how} TABLE staging.planted (district_id uuid NOT NULL, run_id uuid NOT NULL)"
MADE_BY_A_RUN = f"{STAGED.format(how='')}; GRANT worker TO CURRENT_USER; ALTER TABLE staging.planted OWNER TO worker"
COUNT = "SELECT count(*) FROM {table}"

FAULTS: list[tuple[Check, str, str]] = [
    (catalogue.every_table_has_a_district, "CREATE TABLE planted (id uuid PRIMARY KEY)", "no district_id"),
    (catalogue.every_table_has_a_district, "CREATE TABLE planted (district_id uuid)", "no district_id uuid NOT NULL"),
    (catalogue.every_table_has_a_district, "CREATE TABLE app.planted (district_id uuid NOT NULL)", "nobody checks"),
    (catalogue.every_row_is_locked, TABLE.format(more=""), "no row-level security"),
    (catalogue.every_row_is_locked, "ALTER TABLE concern NO FORCE ROW LEVEL SECURITY", "does not FORCE"),
    (catalogue.policies_are_plain, f"{TABLE.format(more='')}; {LOCK}", "not exactly one policy"),
    (catalogue.policies_are_plain, f"{planted()}; {GOOD.replace('tenant', 'second')}", "not exactly one policy"),
    (catalogue.policies_are_plain, planted().replace("TO api, worker", ""), "not exactly one policy"),
    (catalogue.policies_are_plain, planted(kind="AS RESTRICTIVE"), "RESTRICTIVE"),
    (catalogue.policies_are_plain, planted(kind="FOR UPDATE"), "one command only"),
    (catalogue.policies_are_plain, planted(check="true"), "WITH CHECK that is not its USING"),
    (catalogue.policies_are_plain, planted(using="true"), "does not begin with the district"),
    (catalogue.policies_are_plain, planted(using=f"({DISTRICT}) OR id IS NULL"), "OR outside"),
    (catalogue.policies_are_plain, planted(using=f"{DISTRICT} AND EXISTS (SELECT 1 FROM org)"), "subquery"),
    (catalogue.policies_are_plain, planted(using=f"{DISTRICT} AND length(id::text) > 1"), "calls ['length']"),
    (staging.kept_plans_are_locked, STAGED.format(how=""), "no FORCEd row-level"),
    (staging.kept_plans_are_locked, STAGED.format(how=""), "not exactly one policy"),
    (staging.kept_plans_are_locked, "ALTER TABLE staging.kept_plan NO FORCE ROW LEVEL SECURITY", "no FORCEd row-level"),
    (staging.kept_plans_are_locked, "ALTER TABLE staging.kept_rekey SET UNLOGGED", "outlives its run"),
    (staging.kept_plans_are_locked, "ALTER POLICY tenant ON staging.kept_plan USING (true)", "does not begin with"),
    (staging.staged_rows_are_of_a_run, "CREATE TABLE staging.planted (district_id uuid, run_id uuid)", "begin with"),
    (staging.staged_rows_are_of_a_run, "CREATE TABLE staging.planted (a text)", "no primary key"),
    (staging.staged_rows_are_of_a_run, MADE_BY_A_RUN, "by a run"),
    (staging.staging_has_the_columns_of_the_kinds, STAGED.format(how="UNLOGGED"), "no statement knows it"),
    (staging.staging_has_the_columns_of_the_kinds, "DROP TABLE staging.key_org", "is not there"),
    (
        staging.staging_has_the_columns_of_the_kinds,
        "ALTER TABLE staging.staged_org DROP COLUMN t_name",
        "lacks t_name text",
    ),
    (catalogue.people_are_within_reach, planted(ABOUT), "does not read app.reach"),
    (catalogue.people_are_within_reach, planted(ABOUT, using=policy(student="student_id")), "does not lock"),
    (catalogue.people_are_within_reach, planted(ABOUT, using=policy(student="id", lock="secured_area")), "caseload"),
    (catalogue.people_are_within_reach, planted("person_id uuid,"), "names people outside the reach"),
    (catalogue.the_district_leads_every_key, f"{planted()}; CREATE INDEX ON planted (id)", "not led by district_id"),
    (catalogue.the_district_leads_every_key, planted("code text UNIQUE,"), "not led by district_id"),
    (
        catalogue.the_district_leads_every_key,
        "ALTER TABLE disclosure DROP CONSTRAINT disclosure_pkey",
        "no primary key",
    ),
    (
        catalogue.references_stay_within_the_district,
        planted("client_id uuid REFERENCES client (client_id),"),
        "another district",
    ),
    (
        catalogue.references_stay_within_the_district,
        planted(TO_ORG.format(here="district_id, org_id", there="district_id, id", does="ON DELETE SET NULL (org_id)")),
        "on DELETE",
    ),
    (
        catalogue.references_stay_within_the_district,
        planted(TO_ORG.format(here="district_id, org_id", there="district_id, id", does="ON UPDATE CASCADE")),
        "on DELETE or UPDATE",
    ),
    (
        catalogue.tables_on_every_node_stand_alone,
        "ALTER TABLE district ADD CONSTRAINT planted FOREIGN KEY (district_id) REFERENCES event_counter NOT VALID",
        "refers to event_counter, which is not",
    ),
    (catalogue.tables_on_every_node_stand_alone, "REVOKE UPDATE ON client FROM worker", "worker cannot lock client"),
    (
        catalogue.nothing_runs_by_itself,
        "CREATE FUNCTION app.planted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'; "
        "CREATE TRIGGER planted BEFORE INSERT ON concern FOR EACH ROW EXECUTE FUNCTION app.planted()",
        "no triggers",
    ),
    (catalogue.nothing_runs_by_itself, "CREATE VIEW planted AS SELECT * FROM concern", "security_invoker"),
    (catalogue.nothing_runs_by_itself, "CREATE MATERIALIZED VIEW planted AS SELECT 1 AS a", "materialized"),
    (catalogue.nothing_runs_by_itself, "CREATE RULE planted AS ON DELETE TO concern DO INSTEAD NOTHING", "no rules"),
    (catalogue.nothing_runs_by_itself, planted("n bigint GENERATED ALWAYS AS IDENTITY,"), "orders by arrival"),
    (privileges.privileges_are_few, f"{planted()}; GRANT SELECT ON planted TO PUBLIC", "only api and worker"),
    (privileges.privileges_are_few, f"{planted()}; GRANT DELETE ON planted TO api", "tombstone"),
    (privileges.privileges_are_few, f"{planted()}; GRANT TRUNCATE ON planted TO worker", "tombstone"),
    (privileges.privileges_are_few, "GRANT SELECT ON client_secret TO api", "never the api's"),
    (privileges.privileges_are_few, "GRANT USAGE ON SCHEMA staging TO api", "the api can reach it"),
    (privileges.privileges_are_few, "GRANT CREATE ON SCHEMA public TO worker", "can make objects"),
    (privileges.privileges_are_few, "GRANT CREATE ON SCHEMA public TO PUBLIC", "can make objects"),
    (privileges.privileges_are_few, "GRANT TEMPORARY ON DATABASE {database} TO worker", "database to worker"),
    (privileges.privileges_are_few, "GRANT TEMPORARY ON DATABASE {database} TO PUBLIC", "database to api"),
    (privileges.owners_rights_are_listed, DEFINER.format(path=PINNED), "is not let off"),
    (privileges.owners_rights_are_listed, DEFINER.format(path=PINNED), "PUBLIC may execute"),
    (privileges.functions_name_their_schemas, DEFINER.format(path=""), "search_path is not"),
    (privileges.functions_name_their_schemas, FUNCTION.format(how="", body="SELECT 1"), "search_path is not"),
    (
        privileges.functions_name_their_schemas,
        DEFINER.format(path="SET search_path = pg_catalog, public"),
        "is not pg_catalog, pg_temp",
    ),
    (
        privileges.functions_name_their_schemas,
        "SET LOCAL check_function_bodies = off; "
        + FUNCTION.format(how=f"SECURITY DEFINER {PINNED}", body=COUNT.format(table="concern")),
        "without its schema",
    ),
    (
        privileges.functions_name_their_schemas,
        "CREATE FUNCTION app.planted() RETURNS void LANGUAGE plpgsql SECURITY DEFINER "
        f"{PINNED} AS 'BEGIN PERFORM 1 FROM concern; END'",
        "is in plpgsql",
    ),
    (privileges.owners_rights_are_listed, "DROP FUNCTION app.district_directory(text)", "is not there"),
]
CHECKS = sorted({privileges.roles_cannot_pass_the_rows, *(one[0] for one in FAULTS)}, key=lambda one: one.__name__)
OWNS = (
    "CREATE ROLE planted; GRANT planted TO CURRENT_USER; GRANT CREATE ON SCHEMA public TO planted; "
    "ALTER TABLE concern OWNER TO planted"
)
ROLES = [
    ("CREATE ROLE planted CREATEROLE", "has rolcreaterole"),
    ("CREATE ROLE planted; CREATE ROLE planted_group; GRANT planted_group TO planted", "is a member of planted_group"),
    (OWNS, "owns public.concern"),
]


@pytest.fixture(scope="session")
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Yields the owner's connection to the migrated database."""
    connection = await asyncpg.connect(settings.url_of("owner"))
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def roles(settings: Settings) -> dict[str, str]:
    """Returns the names of the roles `api` and `worker` on this server."""
    return {purpose: settings.role_name(purpose) for purpose in ("api", "worker")}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_catalogue_holds(check: Check, owner: asyncpg.Connection, roles: dict[str, str]) -> None:
    """The actual schema passes this check."""
    assert await check(owner, roles) == []


async def test_the_catalogue_holds_while_a_run_is_held(
    owner: asyncpg.Connection, roles: dict[str, str], north: Town, tmp_path: Path
) -> None:
    """The schema also passes every check while a held run keeps its plan and the run's map of sourcedIds."""
    held = await hold_rekeyed(north, tmp_path)
    await plan_rekey(north.worker_engine, north.settings.keyring, north.district_id, held.run_id, "identifier")
    assert {check.__name__: findings for check in CHECKS if (findings := await check(owner, roles))} == {}


@pytest.mark.parametrize(("check", "fault", "words"), FAULTS, ids=[f"{c.__name__}-{w}" for c, _, w in FAULTS])
async def test_a_planted_fault_is_found(
    check: Check, fault: str, words: str, owner: asyncpg.Connection, roles: dict[str, str]
) -> None:
    """Each check finds a fault that this test adds to the schema. The fault is rolled back afterwards."""
    fault = fault.replace("{database}", await owner.fetchval("SELECT quote_ident(current_database())"))
    for purpose, role in roles.items():
        fault = fault.replace(f" {purpose}", f' "{role}"') if role != purpose else fault
    assert words in "\n".join(await _findings_of(owner, fault, check, roles))


@pytest.mark.parametrize(("fault", "words"), ROLES, ids=[words for _, words in ROLES])
async def test_a_role_that_could_pass_is_found(fault: str, words: str, owner: asyncpg.Connection) -> None:
    """The check finds a database role of the service that has one right too many.

    The test creates this role and removes it.
    """
    findings = await _findings_of(owner, fault, privileges.roles_cannot_pass_the_rows, {"api": "planted"})
    assert words in "\n".join(findings)


async def _findings_of(owner: asyncpg.Connection, fault: str, check: Check, roles: dict[str, str]) -> list[str]:
    transaction = owner.transaction()
    await transaction.start()
    try:
        await owner.execute("SET LOCAL lock_timeout = '10s'")
        await owner.execute(fault)
        return await check(owner, roles)
    finally:
        await transaction.rollback()


async def test_what_is_let_off_is_there(owner: asyncpg.Connection) -> None:
    """Every table that the list of exceptions names exists in the database."""
    tables = {row["name"] for row in await owner.fetch("SELECT relname::text AS name FROM pg_class")}
    for name in catalogue.LET_OFF:
        kind, rest = name.split(" ", 1)
        if kind in ("table", "delete", "key", "reach"):
            assert rest.split(".")[0].split(" ")[0] in tables, name
