"""Generating on other machines: what carries it is Redis, and we write no broker."""
