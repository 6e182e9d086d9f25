"""Report finished runs in the formats of other benchmarks."""
