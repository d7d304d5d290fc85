"""Replay: history as live traffic, in the order in which it happened."""
