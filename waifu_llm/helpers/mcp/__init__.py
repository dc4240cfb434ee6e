"""Servers of the Model Context Protocol as helpers: as much of a client as tools need.

A server is a process that speaks over its pipes (stdio.py), or an address (http.py). What is said
is the same: session.py. Resources, prompts and sampling are not used, and a server that asks for
them is told so.
"""
