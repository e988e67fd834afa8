//go:build race

package arena

import (
	"sync"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// heapBacked says that the range is Go heap memory, about which the kernel
// isn't asked.
const heapBacked = true

// maxSpan is in bytes. More than it has, the Go heap answers with a crash.
const maxSpan = 1 << 30

// defaultSpan is the span for Config.Span 0. The race detector's shadow is
// several times as large.
func defaultSpan(*numa.Topology) uint64 { return 64 << 20 }

// backing provides the range in race builds: Go heap memory, since the race
// detector sees no other. It never moves, and no Go pointers lie in it.
type backing struct {
	base, size uintptr // base is aligned to the largest run
}

// kept holds all backing memory, by base: the addresses given out are numbers
// to the collector and keep nothing alive.
var kept sync.Map // uintptr -> []byte

// newBacking allocates size bytes and what it takes to align them.
func newBacking(size uintptr) (backing, error) {
	bytes := make([]byte, size+maxRun)
	base := mem.AlignUp(uintptr(unsafe.Pointer(&bytes[0])), maxRun)
	kept.Store(base, bytes)
	return backing{base: base, size: size}, nil
}

// release lets the collector have the range. Preconditions: no run was ever
// handed out.
func (b *backing) release() error {
	kept.Delete(b.base)
	return nil
}

// discard does what the kernel would, word by word: unlike clear, that counts
// as a write by the caller, so that whoever still uses a freed run is reported.
func (b *backing) discard(addr, n uintptr) error {
	words := unsafe.Slice(mem.At[uint64](addr), n/8)
	for i := range words {
		words[i] = 0
	}
	return nil
}

func (b *backing) lock(addr, n uintptr) error { return nil }

func (b *backing) unlock(addr, n uintptr) error { return nil }

func (b *backing) populate(addr, n uintptr) error { return nil }

func (b *backing) advise(HugeMode) {}

func (b *backing) bind(numa.Policy, uintptr, uintptr) (numa.Placement, error) {
	return numa.Placement{Reason: "race build, Go heap"}, nil
}
