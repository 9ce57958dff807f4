#!/bin/sh
# Says loudly which evidence this machine could not produce, so that a green run is not
# taken for more than it is.
missing=0
say() { missing=1; printf 'NOT RUN: %s\n' "$1"; }
[ -d ../shared/data ] || say "tests on optional real data sets (../shared/data is not there; the data in data/ was used)"
[ -d ../shared/parity ] || say "tests against the full files of peers' outputs (../shared/parity is not there; the numbers in tests were used)"
[ -n "$IMPACTIQ_TEST_POSTGRES" ] || say "tests of the score log on PostgreSQL (IMPACTIQ_TEST_POSTGRES names no server; .ci/postgres COMMAND starts one)"
[ -n "$IMPACTIQ_TEST_KAFKA" ] || say "tests of the stream on Apache Kafka (IMPACTIQ_TEST_KAFKA names no broker; .ci/kafka COMMAND starts one)"
[ $missing -eq 1 ] || echo "everything ran: no test lacked its data"
