"""Image files and what they hold: decoding, encoding, metadata. Knows nothing of Beam."""
