"""Simulated equals real."""
