"""What the gateway tells about itself: log, access log, metrics."""
