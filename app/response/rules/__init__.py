"""The decision rules, pure: they take a series and return a verdict. Never a database, a network, a clock or a face.

Call `choose.judge(rule, series, parameters)`. The input is defined in `series`, the result in `verdict`.
"""
