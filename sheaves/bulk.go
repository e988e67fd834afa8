package sheaves

import (
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
)

// AllocBulk takes up to len(dst) objects from main, spare and the barn's full sheaves and returns
// how many. It never refills: the rest comes cheaper straight from the Source than through another
// array. If a destructor doesn't return, the objects go to the Source. (Kernel:
// alloc_from_pcs_bulk.)
func (s *Set) AllocBulk(dst []unsafe.Pointer) int { return s.popBulk(dst, true) }

// AllocBulkPicks is AllocBulk for a caller that samples one object of several at most: picked says
// whether one of those in dst is picked. It costs no random number for each call.
func (s *Set) AllocBulkPicks(dst []unsafe.Pointer) (got int, picked bool) {
	got = s.popPicking(dst, true, &picked)
	return got, picked
}

func (s *Set) popBulk(dst []unsafe.Pointer, counted bool) int { return s.popPicking(dst, counted, nil) }

// popPicking is popBulk. If picked is not nil, it is set if one of the objects is picked.
func (s *Set) popPicking(dst []unsafe.Pointer, counted bool, picked *bool) int {
	got := 0
	for got < len(dst) {
		st, cpu := s.lockMain()
		if st == nil {
			break
		}
		b, _ := s.barnOf(cpu)
		for got < len(dst) && (st.Size() > 0 || s.swapIn(st, b)) {
			switch {
			case picked != nil:
				if st.Due() {
					s.dropPick(st)
				}
				got += st.PopN(dst[got:])
				if st.Due() {
					*picked = s.dropPick(st) || *picked
				}
			case counted:
				got += st.PopN(dst[got:])
			default:
				got += st.TakeN(dst[got:])
			}
		}
		s.unlock(st)
		if got == len(dst) || !b.anyWaiting() || !s.reclaimFor(b, dst, got, counted) {
			break
		}
	}
	return got
}

// reclaimFor reclaims a ready sheaf, the CPU's own first, for a popBulk that has taken the first
// got of dst. If the Source doesn't return, these go back to it, and dst is cleared.
func (s *Set) reclaimFor(b *barn, dst []unsafe.Pointer, got int, counted bool) (ok bool) {
	callback.Guard(
		func() { ok = s.reclaimBy(b, b.takeReady) },
		func() {
			defer clear(dst)
			if counted {
				s.freeToSource(dst[:got])
			} else {
				s.flush(dst[:got])
			}
		})
	return ok
}

// FreeBulk puts objects of the given node into main, spare and the barn's empty sheaves and returns
// how many of objs it took, from the front: none if the calling CPU is on another node. It neither
// allocates nor flushes: the rest goes straight to the Source. (Kernel: free_to_pcs_bulk.)
func (s *Set) FreeBulk(objs []unsafe.Pointer, node int) int { return s.pushBulk(objs, node, true) }

// PutBulk is FreeBulk for objects that were freed before, and only now come to the sheaves. They
// don't count as freed.
func (s *Set) PutBulk(objs []unsafe.Pointer, node int) int { return s.pushBulk(objs, node, false) }

func (c *cpuSheaves) pushBulk(objs []unsafe.Pointer, node int, counted bool) int {
	st, _ := c.lockMain()
	if st != nil && c.isRemote && st.Own() == 0 {
		c.unlock(st)
		st = c.install(node)
	}
	if st == nil {
		return 0
	}
	defer c.unlock(st)
	if st.Own() != c.set.owners[node] {
		return 0
	}
	b := &c.set.barns[node]
	put := 0
	for put < len(objs) {
		if st.Size() == st.Cap() {
			if why := c.swapOut(st, b); why != accepted {
				if why != noSpare {
					c.set.count(BarnPutFail, 1)
				}
				break
			}
		}
		if counted {
			put += st.PushN(objs[put:])
		} else {
			put += st.PutN(objs[put:])
		}
	}
	return put
}
