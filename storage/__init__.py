"""Files and objects: reads, lists and writes them, locally, on S3 and on Google Cloud Storage."""
