"""The ways in. Each is thin: parse, call the engine, send what comes back."""
