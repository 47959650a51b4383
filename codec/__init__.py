"""Image files: decoding, encoding, metadata. Free of Beam."""
