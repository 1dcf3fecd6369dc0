"""Kafka, as librdkafka's mock of brokers has it, or brokers that HTCGRID_TEST_KAFKA names."""
