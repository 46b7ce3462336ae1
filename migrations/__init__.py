"""The schema's migrations. Changes are first added to the schema; what they replace is removed in a later version."""
