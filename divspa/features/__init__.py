"""Clicks to valid clicks, vocabulary, histories, examples and features; knows Spark, never torch."""
