"""What users upload and batches write: objects in a folder or a bucket, and the files made of them."""
