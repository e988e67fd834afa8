//go:build race

package arena

import (
	"runtime"
	"sync"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// heapBacked says that the range is Go heap memory, so that no system call concerns it.
const heapBacked = true

// maxSpan bounds a span in bytes: the Go heap crashes if it is asked for more than it can get.
const maxSpan = 1 << 30

// defaultSpan is the span for Config.Span 0. The race detector's shadow is several times as large.
func defaultSpan(*numa.Topology) int64 { return 64 << 20 }

// backing provides the range in race builds: Go heap memory, since the race detector sees no other.
// It never moves, and no Go pointers lie in it.
type backing struct {
	base, size uintptr // base is aligned to the largest run
}

// kept holds all backing memory, by base. The collector takes the addresses that are given out for
// numbers, so they keep nothing alive.
var kept sync.Map // uintptr -> []byte

// newBacking allocates size bytes and as many more as aligning them takes.
func newBacking(size uintptr) (backing, error) {
	bytes := make([]byte, size+maxRun)
	base := mem.AlignUp(uintptr(unsafe.Pointer(&bytes[0])), maxRun)
	kept.Store(base, bytes)
	return backing{base: base, size: size}, nil
}

// unmap lets the collector have the range. Preconditions: no run was ever handed out.
func (b *backing) unmap() error {
	kept.Delete(b.base)
	return nil
}

func (b *backing) label(string) {}

func (b *backing) makeWritable(addr, n uintptr) error { return nil }

// reset clears the first readable bytes of [addr, addr+n), the only ones that were handed out.
func (b *backing) reset(addr, n, readable uintptr) error { return b.discard(addr, readable) }

// discard clears the pages as the kernel would. The detector is told of it as of a write by the
// caller, so that it reports a goroutine that still uses a freed run.
func (b *backing) discard(addr, n uintptr) error {
	if n > 0 {
		runtime.RaceWriteRange(mem.Ptr(addr), int(n))
		mem.Zero(addr, n)
	}
	return nil
}

func (b *backing) lock(addr, n uintptr) error { return nil }

func (b *backing) unlock(addr, n uintptr) error { return nil }

func (b *backing) populate(addr, n uintptr) error { return nil }

func (b *backing) advise(HugeMode) {}

func (b *backing) keepSmall(addr, n uintptr) {}

func (b *backing) bind(numa.Policy, uintptr, uintptr) (numa.Placement, error) {
	return numa.Placement{Reason: "race build, Go heap"}, nil
}
