"""SRCNN super-resolution on arrays: the network, its weights, tiling, colour, resizing, metrics.

Free of Apache Beam; importing it imports neither TensorFlow nor anything else heavy.
"""
