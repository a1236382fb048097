"""Searches for better parameters: what is tried, how it is measured, what came of it."""
