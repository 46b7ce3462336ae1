"""What needs a browser: the pages that try both faces, in headless Chromium where there is one."""
