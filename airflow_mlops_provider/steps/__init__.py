"""The compute steps: pure functions of settings and artifacts, one module each. None imports another."""
