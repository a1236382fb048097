"""Operators: each parses its dict, runs one step or one effect, and returns a small result."""
