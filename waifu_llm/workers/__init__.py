"""Workers: other machines that generate, reached over Redis. Needs the extra `redis`."""
