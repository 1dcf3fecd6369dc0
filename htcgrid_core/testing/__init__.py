"""What adapters are tested with: contract suites, faults and a simulator."""
