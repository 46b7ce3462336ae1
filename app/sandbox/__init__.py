"""The sandbox, a synthetic district to try Aimline with. It uses the product from outside, and no other package imports
it.
"""
