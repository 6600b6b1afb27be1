"""Vector stores: one port (`port`), its adapters, and the registry that opens the one a setting names."""
