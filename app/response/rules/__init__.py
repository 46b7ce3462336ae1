"""Contains the decision rules, which are pure: each takes a series and returns a verdict.

They use no database, network, clock or API. Call `choose.judge(rule, series, parameters)`. The input is defined in
`series`, the result in `verdict`.
"""
