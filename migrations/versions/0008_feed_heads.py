"""Adds a function that returns the last event numbers of several districts' feeds, for the event streams of a
process.
"""

from migrations.tenant import directory_function

revision = "0008"
down_revision = "0007"

HEADS = """
CREATE FUNCTION app.feed_heads(asked uuid[]) RETURNS TABLE (district_id uuid, epoch uuid, last bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.district_id, c.epoch, c.last FROM public.event_counter AS c WHERE c.district_id = ANY (asked)
$$
"""


def upgrade() -> None:
    directory_function(HEADS, "app.feed_heads(uuid[])", "api")
