"""Blob stores: where uploaded bytes are kept, by key."""
