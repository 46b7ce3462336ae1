"""The sandbox, a synthetic district to try Aimline with. It uses the product from outside; no room imports it."""
