"""The stages of the chain: one file each, pure array functions first, the PTransform below."""
