"""The decision rules. They are pure: each takes a series and returns a verdict.

The rules use no database, network, clock or API. Call `choose.judge(rule, series, parameters)`. `series` defines the
input, and `verdict` the result.
"""
