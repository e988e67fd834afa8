//go:build !amd64 || race

package mem

import "sync/atomic"

// Store64 stores v so that a goroutine that loads it atomically sees everything stored before, too
// (a release store).
func Store64(p *uint64, v uint64) { atomic.StoreUint64(p, v) }

// Store32 is Store64 for 32 bits.
func Store32(p *uint32, v uint32) { atomic.StoreUint32(p, v) }
