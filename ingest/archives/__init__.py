"""Archives that somebody sent: what is in them, under bounds, as streams; nothing of them becomes a path on a disk."""
