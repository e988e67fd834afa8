//go:build !race

package rcu

// storePlain changes a word that another goroutine changes too: what is in it doesn't matter,
// only that the processor has to fetch the line.
//
//go:noinline
func storePlain(p *uint64) { *p++ }
