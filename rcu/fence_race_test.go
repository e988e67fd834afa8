//go:build race

package rcu

import "sync/atomic"

// storePlain is an atomic addition here, which is no race.
func storePlain(p *uint64) { atomic.AddUint64(p, 1) }
