"""The sandbox, which provides a synthetic district to try Aimline with.

It uses the product only from outside, and no other package imports it.
"""
