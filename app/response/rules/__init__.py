"""The decision rules. Each rule takes a series and returns a verdict.

The rules are pure: they use no database, network, clock or API. Call `choose.judge(rule, series, parameters)`. The
module `series` defines the input, and the module `verdict` the result.
"""
