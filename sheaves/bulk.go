package sheaves

import (
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// AllocBulk takes up to len(dst) objects from main, spare and the barn's full
// sheaves and returns how many. It never refills: what is missing comes cheaper
// straight from slabs than through another array (kernel: alloc_from_pcs_bulk).
func (s *Set) AllocBulk(dst []unsafe.Pointer) int {
	got := 0
	for got < len(dst) {
		st, cpu := s.Slots.TryLock(percpu.Main)
		if st == nil {
			break
		}
		b, _ := s.barnOf(cpu)
		for got < len(dst) && (st.Size() > 0 || s.swapIn(st, b)) {
			got += st.PopN(dst[got:])
		}
		st.Unlock()
		if got == len(dst) || !s.reapOne(b) {
			break
		}
	}
	return got
}

// FreeBulk puts objects of owner own into main, spare and the barn's empty sheaves
// and returns how many of objs it took, from the front. It neither allocates nor
// flushes: the rest goes straight to slabs (kernel: free_to_pcs_bulk).
func (s *Set) FreeBulk(objs []unsafe.Pointer, own uint32) int {
	st, cpu := s.Slots.TryLock(percpu.Main)
	if st == nil {
		return 0
	}
	defer st.Unlock()
	if st.Own() != own {
		return 0
	}
	b, _ := s.barnOf(cpu)
	put := 0
	for put < len(objs) {
		if st.Size() == st.Cap() {
			if why := s.swapOut(st, b); why != accepted {
				if why != noSpare {
					s.count(BarnPutFail, 1)
				}
				break
			}
		}
		put += st.PushN(objs[put:])
	}
	return put
}
