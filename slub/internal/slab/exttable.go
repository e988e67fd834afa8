package slab

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// An Ext is what is kept beside one object (kernel: struct slabobj_ext): its Mark in the lowest
// bits, and above them a reference whose meaning is the cache's, 0 for none.
type Ext uint64

const (
	extMarkBits = 2
	extMarkMask = 1<<extMarkBits - 1
	// ExtRefBits is how many bits the reference of an Ext has.
	ExtRefBits = 64 - extMarkBits
)

// ExtInUse returns the Ext of an object in use with the given reference.
func ExtInUse(ref uint64) Ext { return Ext(ref)<<extMarkBits | Ext(InUse) }

// Mark returns the object's mark.
func (e Ext) Mark() Mark { return Mark(e & extMarkMask) }

// Ref returns the object's reference.
func (e Ext) Ref() uint64 { return uint64(e) >> extMarkBits }

// An ExtTable has an Ext for each object; see sideTable. The objects of a Slabs with an ExtTable
// have their marks there.
//
// Writers of an Ext: begin, the holder of the object, and what frees the object. The functions of
// this file change it by compare-and-swap, so of several frees of one object exactly one claims it,
// and of several that take its reference exactly one gets it. A cache that changes it by plain
// loads and stores, through the address that At returns, has the right of the holder alone: what it
// does at the instant of a second free may be lost.
type ExtTable struct{ sideTable }

// ExtTables are the tables of one arena, by shift. The zero value is ready.
type ExtTables struct {
	mu     sync.Mutex // held while a table is reserved; a leaf
	tables [mem.PageShift + 1]*ExtTable
}

const extSize = 8 // bytes

// For returns the table for objects that start every size bytes. It makes the table if there is
// none. Errors: the kernel's, when it has no addresses left.
func (t *ExtTables) For(a *arena.Arena, size uintptr) (*ExtTable, error) {
	shift := shiftFor(size)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tables[shift] == nil {
		table := new(ExtTable)
		if err := table.init("slubd: object extensions", a.Base(), uintptr(a.Pages())*mem.PageSize, uint8(shift), extSize); err != nil {
			return nil, err
		}
		t.tables[shift] = table
	}
	return t.tables[shift], nil
}

// At returns the Ext of the object that starts at addr. It is valid while the caller keeps the
// table alive.
func (t *ExtTable) At(addr uintptr) *Ext {
	return mem.At[Ext](t.first + (addr-t.base)>>t.shift*extSize)
}

// Entries returns the address of the Ext of the first object in the arena's range, and the binary
// logarithm of how many bytes of the range each Ext is for. At computes with these.
func (t *ExtTable) Entries() (first uintptr, shift uint8) { return t.first, t.shift }

// reset clears what is kept beside a new slab.
func (t *ExtTable) reset(r Ref) {
	first := t.first + (r.addr-t.base)>>t.shift*extSize
	mem.Zero(first, ((r.Bytes()-1)>>t.shift+1)*extSize)
	runtime.KeepAlive(t)
}

// change replaces the Ext of an object by what to returns for it, in one atomic step, and returns
// the one that was there. If to returns the same, nothing changes.
func (t *ExtTable) change(addr uintptr, to func(Ext) Ext) (was Ext) {
	defer runtime.KeepAlive(t)
	word := (*uint64)(t.At(addr))
	for {
		was = Ext(atomic.LoadUint64(word))
		now := to(was)
		if now == was || atomic.CompareAndSwapUint64(word, uint64(was), uint64(now)) {
			return was
		}
	}
}

// swap replaces the mark by another if it is InUse, or if it is not, as held says, and returns what
// it was. An object that becomes in use has no reference.
func (t *ExtTable) swap(addr uintptr, held bool, to Mark) (was Mark) {
	return t.change(addr, func(e Ext) Ext {
		switch {
		case (e.Mark() == InUse) != held:
			return e
		case to == InUse:
			return Ext(to)
		}
		return e&^extMarkMask | Ext(to)
	}).Mark()
}

// load returns the Ext of an object.
func (t *ExtTable) load(addr uintptr) Ext {
	defer runtime.KeepAlive(t)
	return Ext(atomic.LoadUint64((*uint64)(t.At(addr))))
}

// Refer gives the object that starts at addr, which is in use, a reference. The caller holds it.
func (t *ExtTable) Refer(addr uintptr, ref uint64) {
	t.change(addr, func(Ext) Ext { return ExtInUse(ref) })
}

// Ref returns the reference of the object that starts at addr, 0 if it has none.
func (t *ExtTable) Ref(addr uintptr) uint64 { return t.load(addr).Ref() }

// TakeRef removes and returns the reference of the object that starts at addr, 0 if it has none.
func (t *ExtTable) TakeRef(addr uintptr) (ref uint64) {
	if t.load(addr).Ref() == 0 {
		return 0
	}
	return t.change(addr, func(e Ext) Ext { return e & extMarkMask }).Ref()
}

// ClaimRef marks the object that starts at addr as free and removes its reference, if it is in use
// and has that reference. It reports whether it was so.
func (t *ExtTable) ClaimRef(addr uintptr, ref uint64) bool {
	was := t.change(addr, func(e Ext) Ext {
		if e == ExtInUse(ref) {
			return Ext(Free)
		}
		return e
	})
	return was == ExtInUse(ref)
}

// Holds reports whether the object that starts at addr is in use with a reference.
func (t *ExtTable) Holds(addr uintptr, ref uint64) bool { return t.load(addr) == ExtInUse(ref) }
