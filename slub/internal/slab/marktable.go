package slab

import (
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// A MarkTable has the marks of objects, a byte each, beside the arena and in a mapping of its own:
// no object has a neighbour there that a stray write could reach.
//
// It serves the caches of one arena whose slots have between 1<<shift and 2<<shift bytes. Two of
// their objects start at least 1<<shift bytes apart, so the offset of an object in the arena's
// range, shifted, is a byte of its own. That takes a byte for each 1<<shift bytes of the range, of
// which only those pages have memory that lie beside slabs of these caches.
//
// Memory: the whole table is reserved without access, which counts against no limit. Parts of it
// become writable before the first slab beside them has an object, and stay so.
//
// Writers of a mark: begin and the holder of the object, by plain stores, or in builds that check
// everything by compare-and-swap of the word around it. The neighbours in that word may be stored
// to meanwhile: the swap then fails and is tried again.
type MarkTable struct {
	base  uintptr // of the arena's range
	marks uintptr // address of the first mark
	size  uintptr // bytes, a multiple of the page size
	shift uint8

	mu       sync.Mutex // held while a part is made writable; a leaf
	writable []atomic.Bool
	frees    uintptr // address of the first freeStack, or 0
}

// markPart is how many bytes of a table become writable at a time.
const markPart = 1 << 20

// MarkTables are the tables of one arena, by shift. The zero value is ready.
type MarkTables struct {
	mu     sync.Mutex // held while a table is reserved; a leaf
	tables [mem.PageShift + 1]*MarkTable
}

// For returns the table for objects that start every size bytes. It makes the table if there is
// none. Errors: the kernel's, when it has no addresses left.
func (t *MarkTables) For(a *arena.Arena, size uintptr) (*MarkTable, error) {
	shift := min(bits.Len(uint(size))-1, mem.PageShift)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tables[shift] == nil {
		table, err := newMarkTable(a.Base(), uintptr(a.Pages())*mem.PageSize, uint8(shift))
		if err != nil {
			return nil, err
		}
		t.tables[shift] = table
	}
	return t.tables[shift], nil
}

// newMarkTable reserves a table for a range.
func newMarkTable(base, span uintptr, shift uint8) (*MarkTable, error) {
	size := mem.AlignUp(span>>shift, mem.PageSize)
	marks, err := sys.ReserveAs(size, sys.NoAccess)
	if err != nil {
		return nil, err
	}
	t := &MarkTable{base: base, marks: marks, size: size, shift: shift,
		writable: make([]atomic.Bool, (size+markPart-1)/markPart)}
	_ = sys.SetName(marks, size, sys.Name("slubd: marks"))
	_ = sys.DumpCore(marks, size, false)
	if recordsFrees {
		if t.frees, err = sys.ReserveAs(size*freeStackSize, sys.NoAccess); err != nil {
			return nil, errors.Join(err, sys.Unmap(marks, size))
		}
	}
	// No slab refers to the table any more, so nothing reads a mark. If the kernel keeps the
	// addresses, they are lost.
	runtime.AddCleanup(t, func(of [2]uintptr) {
		_ = sys.Unmap(of[0], size)
		if of[1] != 0 {
			_ = sys.Unmap(of[1], size*freeStackSize)
		}
	}, [2]uintptr{marks, t.frees})
	return t, nil
}

// at returns the mark of the object that starts at addr.
func (t *MarkTable) at(addr uintptr) *uint8 { return mem.At[uint8](t.marks + (addr-t.base)>>t.shift) }

// prepare makes the marks of n bytes of the range writable. Errors: arena.ErrNoMemory.
func (t *MarkTable) prepare(addr, n uintptr) error {
	first, last := (addr-t.base)>>t.shift/markPart, (addr+n-1-t.base)>>t.shift/markPart
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

func (t *MarkTable) makeWritable(part uintptr) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.writable[part].Load() {
		return nil
	}
	from := part * markPart
	n := min(markPart, t.size-from)
	if err := sys.Protect(t.marks+from, n, sys.ReadWrite); err != nil {
		return err
	}
	if t.frees != 0 {
		if err := sys.Protect(t.frees+from*freeStackSize, n*freeStackSize, sys.ReadWrite); err != nil {
			return err
		}
	}
	t.writable[part].Store(true) // last: pairs with the load in prepare
	return nil
}

// reset marks all objects of a new slab as free.
func (t *MarkTable) reset(r Ref) {
	first := t.at(r.addr)
	mem.Zero(mem.Addr(first), (r.Bytes()-1)>>t.shift+1)
	runtime.KeepAlive(t)
}

// swap replaces a mark by another if it is InUse, or if it is not, as held says, and returns what
// it was.
//
// With exactMarks it is one atomic step: of several goroutines that free an object at once, one
// gets InUse. Otherwise two that come within a few nanoseconds may both get it. The object is then
// in two sheaves, and the allocation that takes it a second time finds it in use: before it has two
// owners it is reported.
func (t *MarkTable) swap(addr uintptr, held bool, to Mark) (was Mark) {
	if exactMarks {
		return t.swapExactly(addr, held, to)
	}
	p := t.at(addr)
	if was = Mark(*p); (was == InUse) == held {
		*p = uint8(to)
	}
	runtime.KeepAlive(t) // or the table might be unmapped
	return was
}

// swapExactly is swap by an atomic step.
func (t *MarkTable) swapExactly(addr uintptr, held bool, to Mark) (was Mark) {
	defer runtime.KeepAlive(t)
	p := t.at(addr)
	word := (*uint32)(unsafe.Pointer(mem.At[uint32](mem.AlignDown(mem.Addr(p), 4))))
	bit := mem.Addr(p) % 4 * 8
	for {
		old := atomic.LoadUint32(word)
		if was = Mark(old >> bit); (was == InUse) != held ||
			atomic.CompareAndSwapUint32(word, old, old&^(0xff<<bit)|uint32(to)<<bit) {
			return was
		}
	}
}

// load returns the mark of an object.
func (t *MarkTable) load(addr uintptr) Mark {
	defer runtime.KeepAlive(t)
	return Mark(*t.at(addr))
}
