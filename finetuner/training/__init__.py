"""Training: one run in this process, or many in processes of their own."""
