//go:build !race

package arena

import (
	"errors"
	"syscall"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/numa"
)

// heapBacked says that the range is Go heap memory, about which the kernel
// isn't asked.
const heapBacked = false

// maxSpan is no bound of its own.
const maxSpan = maxRange

// defaultSpan is the span for Config.Span 0.
func defaultSpan(t *numa.Topology) uint64 { return ceilPow2(memorySpan(t)) }

// backing provides the range: address space of the kernel's. Its twin in race
// builds has the same methods.
type backing struct {
	base, size uintptr // base is aligned to the largest run
	addr, all  uintptr // what is mapped, more than that if the kernel kept the trimmings
}

// newBacking reserves size bytes, a multiple of the largest run. The kernel
// aligns to pages only, so it asks for more and trims both ends.
func newBacking(size uintptr) (backing, error) {
	all := size + maxRun
	addr, err := sys.Reserve(all)
	if err != nil {
		return backing{}, err
	}
	base := mem.AlignUp(addr, maxRun)
	b := backing{base: base, size: size, addr: addr, all: all}
	b.trim()
	return b, nil
}

// trim gives back what lies beside [base, base+size). Where the kernel refuses,
// it stays reserved.
func (b *backing) trim() {
	end := b.base + b.size
	if n := b.addr + b.all - end; n != 0 && sys.Unmap(end, n) == nil {
		b.all -= n
	}
	if n := b.base - b.addr; n != 0 && sys.Unmap(b.addr, n) == nil {
		b.addr, b.all = b.base, b.all-n
	}
}

// release unmaps the range. Preconditions: no run was ever handed out.
func (b *backing) release() error { return sys.Unmap(b.addr, b.all) }

func (b *backing) discard(addr, n uintptr) error { return sys.Discard(addr, n) }

func (b *backing) lock(addr, n uintptr) error { return sys.Lock(addr, n) }

func (b *backing) unlock(addr, n uintptr) error { return sys.Unlock(addr, n) }

// populate faults pages in, by hand where the kernel doesn't know how to.
func (b *backing) populate(addr, n uintptr) error {
	err := sys.Populate(addr, n)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		for end := addr + n; addr < end; addr += mem.PageSize {
			*mem.At[byte](addr) = 0
		}
		return nil
	}
	return err
}

// advise passes the advice on huge pages on; a kernel without them refuses it
// and may.
func (b *backing) advise(mode HugeMode) {
	if mode != HugeDefault {
		_ = sys.AdviseHuge(b.base, b.size, mode == HugeAlways)
	}
}

func (b *backing) bind(p numa.Policy, addr, n uintptr) (numa.Placement, error) {
	return p.Apply(addr, n)
}
