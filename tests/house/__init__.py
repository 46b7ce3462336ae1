"""Tests of this part of the suite."""
