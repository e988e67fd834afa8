package percpu

import (
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// A PopZero is a Pop that clears part of the object, once it is off the stack. A FreeZero is a Free
// that clears the object in front of its push. Both are func values in place, like Pop and Free.
//
// What they clear is the caller's alone. A PopZero clears behind its commit, when no other
// goroutine can have the object. A FreeZero clears before its sequence, while the object still
// belongs to the goroutine that frees it, and only what Free would accept on some node: the start
// of an object in a slab of this cache, of the cache's preferred order. The stores that clear come
// before the commit in program order, so that the pop of the object finds it cleared.
type PopZero struct {
	Pop
	zero zeroRange
}

// FreeZero is described with PopZero. It refuses an object to its slow path, cleared if a stack of
// another node or with more room would accept it, and otherwise untouched.
type FreeZero struct {
	Free
	own  owner.Word // of the objects, without the bits of the node
	zero zeroRange
}

// A zeroRange is the bytes of an object that are cleared: n bytes from off on. Both are multiples
// of a word, and n is not 0.
type zeroRange struct{ off, n uintptr }

func (z zeroRange) clear(p unsafe.Pointer) { mem.Zero(uintptr(p)+z.off, z.n) }

// newZeroRange rounds n up to words: the size of the assembly's smallest store. The bytes up to the
// next word belong to the object's slot.
func newZeroRange(off, n uintptr) zeroRange {
	if invariants.Enabled {
		invariants.Check(off%8 == 0 && n > 0, "%d bytes at +%d to clear", n, off)
	}
	return zeroRange{off: off, n: mem.AlignUp(n, 8)}
}

// Init makes p an operation on stacks k of s that clears n bytes of the object, from off on. slow
// is as for Pop.Init, and clears by itself.
func (p *PopZero) Init(s Slots, k Kind, off, n uintptr, slow PopFunc) {
	p.slots, p.slow, p.zero = s.base+uintptr(k), slow, newZeroRange(off, n)
	current.makePopZero(p)
}

// Init makes f an operation on the filter's stacks that clears the first n bytes of the object.
// own is the owner word of the cache on any node. slow is as for Pop.Init; it may get objects that
// are cleared and objects that are not.
func (f *FreeZero) Init(filter Filter, own owner.Word, n uintptr, slow FreeFunc) {
	f.Filter, f.slow, f.own, f.zero = filter, slow, own&withoutNode, newZeroRange(0, n)
	current.makeFreeZero(f)
}

// FillZero is Fill for objects that are cleared in front of their push: n[i] bytes of those of
// filters[i]. Without a sequence for that f keeps taking the slow path. f may be in use: an
// operation that has begun by the code before finds no pages, as those of Fill stay 0.
func (f *FreeByOwner) FillZero(first uint32, filters []Filter, n []uintptr) {
	if current.initFreeByOwnerZero == nil {
		return
	}
	f.fillZero(first, filters, n)
	current.initFreeByOwnerZero(f)
}

// fillZero is FillZero without effect.
func (f *FreeByOwner) fillZero(first uint32, filters []Filter, n []uintptr) {
	for i, table := 0, f.fill(first, filters); i < len(table); i++ {
		table[i].clear = newZeroRange(0, n[i]).n
	}
	f.ownPages = filters[0].pages
}

// makePopZero gives p its code. Where the engine has no sequence for it, it is the engine's Pop and
// Go code.
func (e *engine) makePopZero(p *PopZero) {
	if e.initPopZero != nil {
		e.initPopZero(p)
		return
	}
	slow := p.slow
	pop := &Pop{slots: p.slots, slow: func() (unsafe.Pointer, error) { return nil, nil }}
	e.initPop(pop)
	p.SetSlowOnly(func() (unsafe.Pointer, error) {
		obj, _ := pop.Func()()
		if obj == nil {
			return slow()
		}
		p.zero.clear(obj)
		runtime.KeepAlive(p) // see recycle.go
		return obj, nil
	})
}

// makeFreeZero is makePopZero for a FreeZero.
func (e *engine) makeFreeZero(f *FreeZero) {
	if e.initFreeZero != nil {
		e.initFreeZero(f)
		return
	}
	push := &Free{Filter: f.Filter, slow: f.slow}
	e.initFree(push)
	f.SetSlowOnly(func(p unsafe.Pointer) {
		if o := f.Owner(p); o != 0 && o&withoutNode == f.own {
			f.zero.clear(p)
		}
		push.Func()(p)
	})
}
