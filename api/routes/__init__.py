"""One router for each resource, with its request and response models."""
