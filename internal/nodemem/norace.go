//go:build !race

package nodemem

// heapOnly says that all values lie in Go's heap.
const heapOnly = false
