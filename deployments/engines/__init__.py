"""Engine replicas: a thin Serve actor owns the accelerators and supervises an engine's own server as a child process."""
