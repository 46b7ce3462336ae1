"""Tests requests that are made to exhaust a process: their cost, and what stays available meanwhile."""
