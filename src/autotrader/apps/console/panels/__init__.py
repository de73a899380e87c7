"""What the page shows: one panel a file, each over ports of its own."""
