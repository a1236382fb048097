"""From sources to typed tables: reading, typing, sorting, Parquet."""
