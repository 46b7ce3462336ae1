"""Tests requests that are made to exhaust a process: what they cost, and that other requests are still answered."""
