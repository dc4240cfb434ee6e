"""Jobs: what is queued, done when its turn comes, and told to whoever listens."""
