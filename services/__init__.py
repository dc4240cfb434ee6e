"""Real servers for tests, benchmarks and soaks: each in a folder and at a port of its own.

What is missing is installed where that can be done, which is as root on Debian and its children.
"""
