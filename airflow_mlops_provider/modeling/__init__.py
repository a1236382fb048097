"""From a split to a fitted pipeline in a file, and back to predictions."""
