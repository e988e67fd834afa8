//go:build !race

package rcu

// storePlain changes a word that another goroutine changes, too. Its value doesn't matter, only
// that the processor has to fetch the cache line.
//
//go:noinline
func storePlain(p *uint64) { *p++ }
