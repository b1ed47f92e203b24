"""What runs on Ray Serve. Importing this package starts nothing."""
