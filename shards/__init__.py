"""Shards: files that hold many images with their captions and labels. Free of Beam."""
