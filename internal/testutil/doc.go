// Package testutil has what the tests of several packages share: programs that may be missing,
// stress sizes and seeds from the environment, runs of the test binary in another environment,
// threads that move between CPUs, and fake sysfs trees.
//
// Only _test.go files import it; of the module it imports internal/cpulist only. It reads these
// environment variables:
//
//	SLUBD_REQUIRE=1     a missing program fails the test instead of skipping it
//	SLUBD_PLATFORMS=1   tests that build programs are run, as by make images and platforms
//	SLUBD_STRESS_OPS=n  operations of each stress test
//	SLUBD_SEED=n        seed of each random test, in any base that Go reads
package testutil
