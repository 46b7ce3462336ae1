"""The sync engine, which stages, checks, plans, guards and applies deliveries with the same statements for all
sources.
"""
