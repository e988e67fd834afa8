package slab

import (
	"encoding/binary"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// A MarkTable has the marks of objects, a byte each; see sideTable.
//
// Writers of a mark: reset; swap; and the sequences of percpu, of which a pop stores the mark of
// the object that it has just taken, and a free compares it and stores it in one atomic
// instruction. swap does so with the word around it. The neighbours in that word may be stored to
// meanwhile: the swap then fails and is tried again.
type MarkTable struct {
	sideTable
	frees *sideTable // of a freeStack each, or nil
}

// MarkTables are the tables of one arena, by shift. The zero value is ready.
type MarkTables struct {
	mu     sync.Mutex // held while a table is reserved; a leaf
	tables [mem.PageShift + 1]*MarkTable
}

// For returns the table for objects that start every size bytes. It makes the table if there is
// none. Errors: the kernel's, when it has no addresses left.
func (t *MarkTables) For(a *arena.Arena, size uintptr) (*MarkTable, error) {
	shift := shiftFor(size)
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
	t := new(MarkTable)
	if err := t.init("slubd: marks", base, span, shift, 1); err != nil {
		return nil, err
	}
	if recordsFrees {
		t.frees = new(sideTable)
		if err := t.frees.init("slubd: frees", base, span, shift, freeStackSize); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// at returns the mark of the object that starts at addr.
func (t *MarkTable) at(addr uintptr) *uint8 { return mem.At[uint8](t.first + (addr-t.base)>>t.shift) }

// prepare makes the marks of n bytes of the range writable. Errors: arena.ErrNoMemory.
func (t *MarkTable) prepare(addr, n uintptr) error {
	if t.frees != nil {
		if err := t.frees.prepare(addr, n); err != nil {
			return err
		}
	}
	return t.sideTable.prepare(addr, n)
}

// reset marks all objects of a new slab as free.
func (t *MarkTable) reset(r Ref) {
	first := t.at(t.base + uintptr(r.page)*mem.PageSize)
	mem.Zero(mem.Addr(first), (r.Bytes()-1)>>t.shift+1)
	runtime.KeepAlive(t)
}

// firstByte is the shift of the first byte of a word of 32 bits: 0, or 24 where the byte order is
// big-endian.
var firstByte = uintptr(bits.TrailingZeros32(binary.NativeEndian.Uint32([]byte{1, 0, 0, 0})))

// swap replaces a mark by another if it is InUse, or if it is not, as held says, and returns what
// it was. It is one atomic step: of several goroutines that free an object at once, one gets InUse.
func (t *MarkTable) swap(addr uintptr, held bool, to Mark) (was Mark) {
	defer runtime.KeepAlive(t) // or the table might be unmapped
	p := t.at(addr)
	word := (*uint32)(unsafe.Pointer(mem.At[uint32](mem.AlignDown(mem.Addr(p), 4))))
	bit := mem.Addr(p)%4*8 ^ firstByte
	for {
		old := atomic.LoadUint32(word)
		if was = Mark(old >> bit); (was == InUse) != held ||
			atomic.CompareAndSwapUint32(word, old, old&^(0xff<<bit)|uint32(to)<<bit) {
			return was
		}
	}
}

// Load returns the mark of an object.
func (t *MarkTable) Load(addr uintptr) Mark {
	defer runtime.KeepAlive(t)
	return Mark(*t.at(addr))
}
