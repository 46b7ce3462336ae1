"""The schema's migrations. A migration only adds to the schema. What is not used any more is removed later."""
