"""Defines the GraphQL query that exports the intervention library as CSV."""

import strawberry

from app.graphql.door import Info, guarded_field
from app.intervention.transfer import export_interventions


@strawberry.type
class LibraryQueries:
    """The query that exports the intervention library."""

    @guarded_field(
        "The published entries of the intervention library as CSV, in the form that the import takes.",
        export_interventions,
    )
    async def interventions_csv(self, info: Info) -> str | None:
        content: bytes = await info.context.read(export_interventions)
        return content.decode()
