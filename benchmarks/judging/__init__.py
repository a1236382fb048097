"""How often each decision is wrong, one module a decision."""
