"""Shards: files that hold many images with what belongs to them. Knows nothing of Beam."""
