"""The decision rules, pure: a series in, a verdict out. Never a database, a network, a clock or a face.

Ask `choose.judge(rule, series, parameters)`. What goes in is in `series`, what comes out in `verdict`.
"""
