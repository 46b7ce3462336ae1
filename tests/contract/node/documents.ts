// The documents that Relay's compiler and GraphQL Code Generator compile: a paged list of each kind, and one node.
declare function graphql(parts: TemplateStringsArray): unknown;

export const students = graphql`
  fragment documents_students on Query
  @argumentDefinitions(count: { type: "Int", defaultValue: 10 }, cursor: { type: "String" })
  @refetchable(queryName: "documentsStudentsQuery") {
    students(first: $count, after: $cursor) @connection(key: "documents_students") {
      edges {
        node {
          id
          givenName
        }
      }
    }
  }
`;

export const concerns = graphql`
  fragment documents_concerns on Query
  @argumentDefinitions(count: { type: "Int", defaultValue: 10 }, cursor: { type: "String" })
  @refetchable(queryName: "documentsConcernsQuery") {
    concerns(first: $count, after: $cursor) @connection(key: "documents_concerns") {
      edges {
        node {
          id
          state
          student {
            id
          }
        }
      }
    }
  }
`;

export const supports = graphql`
  fragment documents_supports on Query
  @argumentDefinitions(count: { type: "Int", defaultValue: 10 }, cursor: { type: "String" })
  @refetchable(queryName: "documentsSupportsQuery") {
    supports(first: $count, after: $cursor) @connection(key: "documents_supports") {
      edges {
        node {
          id
          state
          verdict {
            state
            sentence
          }
        }
      }
    }
  }
`;

export const all = graphql`
  query documentsQuery($id: ID!) {
    ...documents_students
    ...documents_concerns
    ...documents_supports
    node(id: $id) {
      id
      __typename
    }
  }
`;
