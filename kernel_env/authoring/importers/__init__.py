"""Import tasks from checkouts of other benchmarks."""
