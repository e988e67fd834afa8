package slab

import (
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// A sideTable has an entry of some bytes for each object, beside the arena and in a mapping of its
// own: no object has a neighbour there that a stray write could reach.
//
// It serves the caches of one arena whose slots have between 1<<shift and 2<<shift bytes. Two of
// their objects start at least 1<<shift bytes apart, so the offset of an object in the arena's
// range, shifted, is the number of an entry of its own.
//
// Memory: the whole table is reserved without access, which counts against no limit. Parts of it
// become writable before the first slab beside them has an object, and stay so. Of these only
// those pages have memory that lie beside slabs of the caches.
type sideTable struct {
	base  uintptr // of the arena's range
	first uintptr // address of the first entry
	size  uintptr // bytes, a multiple of the page size
	each  uintptr // bytes of an entry
	shift uint8

	mu       sync.Mutex // held while a part is made writable; a leaf
	writable []atomic.Bool
}

// partEntries is how many entries of a table become writable at a time.
const partEntries = 1 << 20

// shiftFor returns the shift of the table for objects that start every size bytes.
func shiftFor(size uintptr) int { return min(bits.Len(uint(size))-1, mem.PageShift) }

// init reserves a table for a range. The name is that of its mapping. Errors: the kernel's, when it
// has no addresses left.
func (t *sideTable) init(name string, base, span uintptr, shift uint8, each uintptr) (err error) {
	entries := span >> shift
	t.base, t.shift, t.each = base, shift, each
	t.size = mem.AlignUp(entries*each, mem.PageSize)
	if t.first, err = sys.ReserveAs(t.size, sys.NoAccess); err != nil {
		return err
	}
	t.writable = make([]atomic.Bool, (entries+partEntries-1)/partEntries)
	_ = sys.SetName(t.first, t.size, sys.Name(name))
	_ = sys.DumpCore(t.first, t.size, false)
	// No slab refers to the table any more, so nothing reads an entry. If the kernel keeps the
	// addresses, they are lost.
	size := t.size
	runtime.AddCleanup(t, func(first uintptr) { _ = sys.Unmap(first, size) }, t.first)
	return nil
}

// entry returns the address of the entry of the object that starts at addr.
func (t *sideTable) entry(addr uintptr) uintptr { return t.first + (addr-t.base)>>t.shift*t.each }

// isPrepared reports whether the entry of the object that starts at addr can be written.
func (t *sideTable) isPrepared(addr uintptr) bool {
	return t.writable[(addr-t.base)>>t.shift/partEntries].Load()
}

// prepare makes the entries of n bytes of the range writable. Errors: arena.ErrNoMemory.
func (t *sideTable) prepare(addr, n uintptr) error {
	first, last := (addr-t.base)>>t.shift/partEntries, (addr+n-1-t.base)>>t.shift/partEntries
	for part := first; part <= last; part++ {
		if t.writable[part].Load() {
			continue
		}
		if err := t.makeWritable(part); err != nil {
			return fmt.Errorf("%w: marks of objects: %w", arena.ErrNoMemory, err)
		}
	}
	return nil
}

func (t *sideTable) makeWritable(part uintptr) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.writable[part].Load() {
		return nil
	}
	from := part * partEntries * t.each
	n := min(partEntries*t.each, t.size-from)
	if err := sys.Protect(t.first+from, n, sys.ReadWrite); err != nil {
		return err
	}
	t.writable[part].Store(true) // last: pairs with the load in prepare
	return nil
}
