"""The harness of the benchmarks: rows, blocks, stamps, tables."""
