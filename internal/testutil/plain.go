//go:build !race && !asan

package testutil

// Instrumented reports whether this build checks each access to memory, with the race detector or
// the address sanitizer.
const Instrumented = false
