// Package nodemem has memory for small values that lie each on a NUMA node of its own choice: the
// words that the CPUs of one node share, such as a barn or the head of a list of slabs.
//
// # Place in the data flow
//
//	arena.New -> [New]: which index means which node of the machine
//	sheaves.New, slab.New -> [Make]: a value for each index
//
// # Memory
//
// Values of one size for one node lie side by side in chunks that the kernel is asked to place on
// that node (mbind with MPOL_PREFERRED). All caches share the chunks. A page has values of one node
// only, and no two values share a line or a pair of lines (Align). A value's page gets its memory
// in Make, so that no later use of the value takes a page fault.
//
// Chunks are mapped outside Go's heap and never unmapped. They hold no pointers into Go's heap: the
// collector doesn't look there.
//
// Where the kernel refuses to map or to place a chunk, where there is one node only, and with
// -race, since the race detector sees no other memory, values lie in Go's heap. Nothing else is
// different then.
//
// # Lifetime
//
// Values belong to a Go object, which their maker names. When the collector has found that nothing
// refers to that object any more, their slots are used again, zeroed. So code that uses a value
// keeps that object alive until it has done so: it uses the object afterwards, or calls
// runtime.KeepAlive. Then a late operation on a closed cache, which is a bug of its caller, never
// changes a value of another cache. Package percpu's cells have the same rule.
//
// A chunk without values goes back to the kernel, except for the first of each node and size.
//
// The package imports internal/mem, internal/sys and numa. It has one lock, a leaf.
package nodemem
