"""What programs of others make of the contracts: an audit of GraphQL over HTTP, and three generators of clients."""
