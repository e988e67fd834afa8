//go:build !race

package arena

import (
	"errors"
	"syscall"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/numa"
)

// heapBacked says that the range is Go heap memory, so that no system call concerns it.
const heapBacked = false

// maxSpan bounds a span in bytes; here the range alone bounds it.
const maxSpan = maxRange

// defaultSpan is the span for Config.Span 0.
func defaultSpan(t *numa.Topology) int64 { return ceilPow2(memorySpan(t)) }

// backing provides the range, which the kernel maps. The backing of race builds has the same
// methods.
type backing struct {
	base, size uintptr // base is aligned to the largest run
	addr, all  uintptr // what is mapped: the range, and what trim could not unmap
}

// newBacking reserves size bytes, a multiple of the largest run, without access. The kernel aligns
// to pages only, so newBacking asks for more and trims both ends.
func newBacking(size uintptr) (backing, error) {
	all := size + maxRun
	addr, err := sys.ReserveAs(all, sys.NoAccess)
	if err != nil {
		return backing{}, err
	}
	base := mem.AlignUp(addr, maxRun)
	b := backing{base: base, size: size, addr: addr, all: all}
	b.trim()
	return b, nil
}

// trim unmaps what lies beside [base, base+size). Where the kernel refuses, it stays reserved.
func (b *backing) trim() {
	end := b.base + b.size
	if n := b.addr + b.all - end; n != 0 && sys.Unmap(end, n) == nil {
		b.all -= n
	}
	if n := b.base - b.addr; n != 0 && sys.Unmap(b.addr, n) == nil {
		b.addr, b.all = b.base, b.all-n
	}
}

// unmap unmaps the range. Preconditions: no run was ever handed out.
func (b *backing) unmap() error { return sys.Unmap(b.addr, b.all) }

// label gives the range a name and keeps what isn't writable out of core dumps. Either may fail
// without harm.
func (b *backing) label(name string) {
	_ = sys.SetName(b.base, b.size, sys.Name("slubd: "+name))
	_ = sys.DumpCore(b.base, b.size, false)
}

// makeWritable makes a part of the range writable and a part of core dumps.
func (b *backing) makeWritable(addr, n uintptr) error { return makeWritable(addr, n) }

// reset gives the pages of [addr, addr+n) back. The first readable bytes, which had been handed
// out, read zero from then on; the rest has no access.
//
// If the kernel refuses, reset discards the pages instead.
func (b *backing) reset(addr, n, readable uintptr) (err error) {
	if readable > 0 {
		err = sys.Replace(addr, readable, sys.ReadOnly)
	}
	if err == nil && readable < n {
		err = sys.Replace(addr+readable, n-readable, sys.NoAccess)
	}
	discarded := sys.Discard(addr, n) // after mlockall the new pages are resident
	if err != nil {
		return errors.Join(err, discarded)
	}
	return nil
}

func (b *backing) discard(addr, n uintptr) error { return sys.Discard(addr, n) }

func (b *backing) lock(addr, n uintptr) error { return sys.Lock(addr, n) }

func (b *backing) unlock(addr, n uintptr) error { return sys.Unlock(addr, n) }

// populate faults pages in, by touching them where the kernel has no call for that.
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

// keepSmall asks for no more huge pages in a part of the range. A kernel without them may refuse.
func (b *backing) keepSmall(addr, n uintptr) { _ = sys.AdviseHuge(addr, n, false) }

// advise gives the kernel the advice on huge pages. A kernel without them may refuse it.
func (b *backing) advise(mode HugeMode) {
	if mode == HugeAlways || mode == HugeNever {
		_ = sys.AdviseHuge(b.base, b.size, mode == HugeAlways)
	}
}

func (b *backing) bind(p numa.Policy, addr, n uintptr) (numa.Placement, error) {
	return p.Apply(addr, n)
}
