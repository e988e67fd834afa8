package sheaves

import (
	"math/rand/v2"
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// A user is one goroutine of a stress test. It does what a cache does: the per-CPU stack first,
// then the Set, then the slabs.
type user struct {
	*stress
	rng     *rand.Rand
	pop     percpu.Pop
	push    percpu.Free
	pushRCU percpu.Free
	held    []unsafe.Pointer
	slab    bool // the last operation went to the slabs

	// What push and pushRCU go on to, as slub's do.
	pushRemote, pushRCURemote percpu.Free
}

// most is how many objects a user holds.
const most = 64

func (s *stress) newUser(seed, n uint64) *user {
	u := &user{stress: s, rng: rand.New(rand.NewPCG(seed, n))}
	u.pop.Init(s.slots, percpu.Main, func() (unsafe.Pointer, error) {
		p := s.TryAlloc()
		if u.slab = p == nil; u.slab {
			p = u.fromSlabs(1)[0]
		}
		return p, nil
	})
	u.pushRemote.Init(s.filter.ForStacks(s.remoteSlots, percpu.Main), func(p unsafe.Pointer) {
		if u.slab = !s.TryFree(p, nodeOf(p)); u.slab {
			u.toSlabs(p)
		}
	})
	u.pushRCURemote.Init(s.filter.ForStacks(s.remoteSlots, percpu.RCU), func(p unsafe.Pointer) {
		if u.slab = !s.TryFreeRCU(p, nodeOf(p), MayWait); !u.slab {
			return
		}
		s.rcuRefusals.Add(1)
		s.domain.Defer(func() {
			s.step(p, afterFreeRCU, atRest)
			s.src.giveBack([]unsafe.Pointer{p})
		})
	})
	u.push.Init(s.filter.ForStacks(s.slots, percpu.Main), u.pushRemote.Func())
	u.pushRCU.Init(s.filter.ForStacks(s.slots, percpu.RCU), u.pushRCURemote.Func())
	return u
}

func (u *user) fromSlabs(n int) []unsafe.Pointer {
	u.fromSlab.Add(uint64(n))
	return u.src.take(u.homes.Index(percpu.CPU()), n)
}

func (u *user) toSlabs(objs ...unsafe.Pointer) {
	u.toSlab.Add(uint64(len(objs)))
	u.src.giveBack(objs)
}

func (u *user) hold(objs ...unsafe.Pointer) {
	for _, p := range objs {
		u.step(p, atRest, inUse)
	}
	u.held = append(u.held, objs...)
}

// drop takes a random object from those held.
func (u *user) drop() unsafe.Pointer {
	i, last := u.rng.IntN(len(u.held)), len(u.held)-1
	p := u.held[i]
	u.held[i], u.held = u.held[last], u.held[:last]
	return p
}

func (u *user) alloc() {
	u.slab = false
	p, _ := u.pop.Func()()
	if !u.slab {
		u.pops.Add(1)
	}
	u.hold(p)
}

func (u *user) allocNode() {
	if p := u.TryAllocNode(u.rng.IntN(stressNodes)); p != nil {
		u.pops.Add(1)
		u.hold(p)
	}
}

func (u *user) free() {
	p := u.drop()
	u.step(p, inUse, atRest)
	u.slab = false
	if u.push.Func()(p); !u.slab {
		u.pushes.Add(1)
	}
}

func (u *user) freeRCU(p unsafe.Pointer) {
	u.step(p, inUse, afterFreeRCU)
	u.slab = false
	if u.pushRCU.Func()(p); !u.slab {
		u.rcuFrees.Add(1)
	}
}

// publish lets readers find an object, and gives the one that they found before to FreeRCU.
func (u *user) publish() {
	if old := u.shared[u.rng.IntN(len(u.shared))].Swap((*byte)(u.drop())); old != nil {
		u.freeRCU(unsafe.Pointer(old))
	}
}

func (u *user) allocBulk() {
	dst := make([]unsafe.Pointer, u.rng.IntN(most))
	n := u.AllocBulk(dst)
	u.pops.Add(uint64(n))
	u.hold(dst[:n]...)
}

// freeBulk frees all that the user holds: the objects of one node together, and then the others.
func (u *user) freeBulk() {
	var objs, others []unsafe.Pointer
	node := u.rng.IntN(stressNodes)
	for _, p := range u.held {
		u.step(p, inUse, atRest)
		if nodeOf(p) == node {
			objs = append(objs, p)
		} else {
			others = append(others, p)
		}
	}
	n, freed := u.FreeBulk(objs, node), len(u.held)
	rest := append(objs[n:], u.FreeBulkRemote(others, true)...)
	u.held = nil
	u.pushes.Add(uint64(freed - len(rest)))
	u.toSlabs(rest...)
}

// borrow takes some objects of a loan, refills it, takes some more and returns it.
func (u *user) borrow() {
	promised := 1 + u.rng.IntN(2*u.Capacity())
	l, err := u.Prefill(promised)
	if err != nil {
		return
	}
	if l.Size() < promised {
		u.t.Errorf("a loan of %d objects, %d were promised", l.Size(), promised)
	}
	for range 2 {
		n := u.rng.IntN(l.Size() + 1)
		u.lent.Add(uint64(n))
		u.hold(l.Slots()[l.Size()-n : l.Size()]...)
		l.SetSize(l.Size() - n)
		// Failing leaves the loan as it is, which is fine.
		l, _ = u.Refill(l, 1+u.rng.IntN(2*u.Capacity()))
	}
	u.Return(l)
}

// act does one random operation.
func (u *user) act() {
	if len(u.held) < 2 {
		u.alloc()
		return
	}
	for len(u.held) > most {
		u.free()
	}
	switch u.rng.IntN(24) {
	case 0, 1, 2, 3, 4, 5, 6:
		u.alloc()
	case 7, 8, 9, 10, 11:
		u.free()
	case 12, 13, 14, 15:
		u.freeRCU(u.drop())
	case 16, 17, 18:
		u.publish()
	case 19:
		u.allocNode()
	case 20:
		u.allocBulk()
	case 21:
		u.freeBulk()
	case 22:
		u.borrow()
	case 23:
		runtime.Gosched()
	}
}

// freeAll frees everything.
func (u *user) freeAll() {
	for len(u.held) > 0 {
		u.free()
	}
}
