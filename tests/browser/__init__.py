"""Browser tests: the pages for trying both APIs, in headless Chromium if it is installed."""
