"""Monitoring of live traffic: the inference log, windows, drift and performance."""
