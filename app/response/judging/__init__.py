"""Judging: series are loaded, judged with their cohort, written, and finalized once the cohort's week is complete."""
