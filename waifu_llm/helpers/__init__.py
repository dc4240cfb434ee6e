"""Services that lend the module a capability: they register, models call them as tools.

The core knows no helper: a `generate` that asks for them is handed to `lending.py`.
"""
