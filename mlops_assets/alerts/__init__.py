"""Alerts: what went wrong, to whom it is told, and that it is told once."""
