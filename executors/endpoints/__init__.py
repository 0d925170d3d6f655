"""The endpoints of the FinetunerExecutor, by topic: each decodes, makes one call, encodes."""
