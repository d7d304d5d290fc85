"""Backtest: what another retrain policy would have done with the same history."""
