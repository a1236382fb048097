"""Triggers: what the sensors wait for while they hold no worker. None of them blocks the triggerer's event loop."""
