"""The main job on bundled data, as a user would do it."""
