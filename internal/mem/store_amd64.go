// The race detector must see an atomic store, hence store_other.go in its builds.

//go:build !race

package mem

// Store64 stores v so that whoever loads it atomically sees everything stored
// before, too (a release store; sync/atomic's are full barriers, which cost 20
// cycles where this costs one). On amd64 every store is one: the processor makes
// stores visible in program order, and the compiler keeps stores in order, as they
// all hang on one chain of memory states.
func Store64(p *uint64, v uint64) { *p = v }

// Store32 is Store64 for 32 bits.
func Store32(p *uint32, v uint32) { *p = v }
