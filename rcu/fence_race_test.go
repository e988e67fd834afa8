//go:build race

package rcu

import "sync/atomic"

// storePlain is an atomic addition in race builds, where the plain one would be reported.
func storePlain(p *uint64) { atomic.AddUint64(p, 1) }
