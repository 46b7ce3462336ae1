"""The engine: staging, checking, planning, weighing, applying. One set of statements for whatever source."""
