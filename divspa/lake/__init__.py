"""Spark session and Delta tables."""
