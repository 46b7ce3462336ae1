"""Tests that need a browser: the pages to try both APIs, in headless Chromium if it is installed."""
