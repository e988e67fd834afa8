//go:build race

package nodemem

// heapOnly says that all values lie in Go's heap: the race detector sees no other memory.
const heapOnly = true
