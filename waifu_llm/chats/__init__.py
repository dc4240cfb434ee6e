"""Conversations that are kept: users, chats, messages, LLMs, and instructions upon them.

Needs the extra `chats`, and for PostgreSQL `postgres`. Without a store nothing here is imported.
"""
