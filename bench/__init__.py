"""Measurements. A figure here is never a test: machines differ, and are noisy."""
