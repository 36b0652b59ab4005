"""Suites of trainings over data sets, seeds and settings, and what their differences are worth."""
