"""Training of networks: settings, crops, the training loop, checkpoints, evaluation.

`python -m srcnn.train` is the command line. Importing this package imports nothing heavy.
"""
