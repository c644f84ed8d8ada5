"""What reports have in common: HTML pages and plots."""
