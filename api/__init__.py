"""The door for HTTP: thin routers over the rooms, and what HTTP adds: problems, keys, limits and event streams."""
