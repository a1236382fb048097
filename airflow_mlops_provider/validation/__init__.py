"""What must be true of a dataset: guards of our own, then Great Expectations."""
