package sheaves

import (
	"math/rand/v2"
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// A user is one goroutine of a storm. It does what a cache does: the per-CPU stack
// first, then the Set, then the slabs.
type user struct {
	*storm
	rng     *rand.Rand
	pop     percpu.Pop
	push    percpu.Free
	pushRCU percpu.Free
	held    []unsafe.Pointer
	slab    bool // the last operation went to the slabs
}

// most is how many objects a user holds.
const most = 64

func (s *storm) newUser(seed, n uint64) *user {
	u := &user{storm: s, rng: rand.New(rand.NewPCG(seed, n))}
	u.pop.Init(s.Slots, percpu.Main, func() (unsafe.Pointer, error) {
		p := s.Alloc()
		if u.slab = p == nil; u.slab {
			p = u.fromSlabs(1)[0]
		}
		return p, nil
	})
	u.push.Init(s.filter.Serve(s.Slots, percpu.Main), func(p unsafe.Pointer) {
		if u.slab = !s.Free(p, s.filter.Owner(p)); u.slab {
			u.toSlabs(p)
		}
	})
	u.pushRCU.Init(s.filter.Serve(s.Slots, percpu.RCU), func(p unsafe.Pointer) {
		own := s.filter.Owner(p)
		local := own == s.Own(s.NodeOfCPU(percpu.CPU()))
		if local && s.FreeRCU(p, own, true) {
			return
		}
		if u.slab = true; local {
			s.rcuRefusals.Add(1)
		}
		s.Domain.Defer(func() {
			s.step(p, retired, atRest)
			s.src.giveBack([]unsafe.Pointer{p})
		})
	})
	return u
}

func (u *user) fromSlabs(n int) []unsafe.Pointer {
	u.fromSlab.Add(uint64(n))
	return u.src.take(u.NodeOfCPU(percpu.CPU()), n)
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
	if p := u.AllocNode(u.rng.IntN(stormNodes)); p != nil {
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

func (u *user) retire(p unsafe.Pointer) {
	u.step(p, inUse, retired)
	u.slab = false
	if u.pushRCU.Func()(p); !u.slab {
		u.retirements.Add(1)
	}
}

// publish lets readers find an object, and retires the one that they found so far.
func (u *user) publish() {
	if old := u.shared[u.rng.IntN(len(u.shared))].Swap((*byte)(u.drop())); old != nil {
		u.retire(unsafe.Pointer(old))
	}
}

func (u *user) allocBulk() {
	dst := make([]unsafe.Pointer, u.rng.IntN(most))
	n := u.AllocBulk(dst)
	u.pops.Add(uint64(n))
	u.hold(dst[:n]...)
}

// freeBulk frees the objects of one node.
func (u *user) freeBulk() {
	var objs, others []unsafe.Pointer
	node := nodeOf(u.held[0])
	for _, p := range u.held {
		if nodeOf(p) == node {
			u.step(p, inUse, atRest)
			objs = append(objs, p)
		} else {
			others = append(others, p)
		}
	}
	u.held = others
	n := u.FreeBulk(objs, own(node))
	u.pushes.Add(uint64(n))
	u.toSlabs(objs[n:]...)
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
		u.hold(l.Room()[l.Size()-n : l.Size()]...)
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
		u.retire(u.drop())
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

// leave frees everything.
func (u *user) leave() {
	for len(u.held) > 0 {
		u.free()
	}
}
