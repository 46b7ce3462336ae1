"""The sandbox, which provides a synthetic district to try Aimline with.

It uses Aimline only from outside, as a client or an operator does. Only the command line imports it.
"""
