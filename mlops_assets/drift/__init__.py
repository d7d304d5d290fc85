"""Drift tests: one file each, found by :mod:`mlops_assets.drift.registry`."""
