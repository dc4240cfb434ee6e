"""A worker of Psylink: prompts and commands come over plain lists of Redis, and outputs go there.

config.py      the file that says which Redis, which model and which prompts
messages.py    what stands in the lists
scripts.py     each step in Redis, whole or not at all
queues.py      those steps as Python has them
model.py       what the file's parameters mean to a provider, and its answers
prompts.py     prompts: taken, answered, put back
commands.py    what a worker can be told
worker.py      all of it, until it is drained

It needs the extra `redis`.
"""
