"""What is sold: SKUs, their prices over time, and the images they run."""
