//go:build race

package testutil

// Race reports whether this is a build with the race detector.
const Race = true
