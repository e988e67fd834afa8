package sheaves

import (
	"errors"
	"math"

	"github.com/slubd/slubd/internal/percpu"
)

// SetCapacity changes how many objects a sheaf holds, and how many sheaves a barn lets
// wait, as in Config. When it returns, no CPU and no barn's list holds a sheaf of another
// capacity, and none comes there any more: what they held has gone to the Source. Sheaves
// of the old capacity that wait for a grace period or are lent go when that ends. Any
// goroutine may call it, but not from the Source or a callback of the Domain; it waits
// for stacks' locks as Flush does, for no grace period.
//
// Errors, with nothing changed: ErrConfig; the refused mapping's; that the set is closed.
//
// The word comes before the visits, and barns before stacks. Whoever puts a sheaf on a
// stack compares it with the word under the stack's lock: before the visit, which then
// finds it, or after, when the lock has shown it the new word. What a stack takes from a
// barn after its own visit comes from a barn that was visited.
func (s *Set) SetCapacity(capacity, maxWaiting int) error {
	if err := errors.Join(within("Capacity", capacity, 1, percpu.MaxCap), within("MaxWaiting", maxWaiting, 0, math.MaxInt32)); err != nil {
		return err
	}
	if maxWaiting == 0 {
		maxWaiting = defaultWaiting
	}
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if s.closed.Load() {
		return errClosed
	}
	if capacity != s.Capacity() {
		mains, err := s.newMains(capacity)
		if err != nil {
			return err
		}
		s.capacity.Store(int32(capacity))
		s.pool.retain(capacity)
		for i := range s.barns {
			s.discardAll(s.barns[i].setCapacity(capacity))
		}
		for cpu := range percpu.NumCPU() {
			s.resizeCPU(cpu, &mains)
		}
		s.discardAll(mains, list{})
	}
	s.maxWaiting.Store(int32(maxWaiting))
	return nil
}

// newMains makes a main sheaf for every CPU.
func (s *Set) newMains(capacity int) (mains list, err error) {
	for range percpu.NumCPU() {
		sh, err := s.newSheaf(capacity)
		if err != nil {
			s.discardAll(mains, list{})
			return list{}, err
		}
		mains.push(sh)
	}
	return mains, nil
}

// resizeCPU replaces what a CPU holds of a retired capacity. Its rcu_free waits for a
// grace period of its own, after which its capacity keeps it from the barn.
func (s *Set) resizeCPU(cpu int, mains *list) {
	var old list
	st := s.Slots.LockCPU(cpu, percpu.Main)
	if spare := sheafOf(st.Spare); spare != nil && s.retired(spare) {
		setSpare(st, nil)
		old.push(spare)
	}
	if s.retired(sheafOf(st.Sheaf)) {
		old.push(settle(st))
		install(st, mains.pop(), st.Own())
	}
	st.Unlock()
	s.discardAll(old, list{})

	st = s.Slots.LockCPU(cpu, percpu.RCU)
	if sh := sheafOf(st.Sheaf); sh == nil || !s.retired(sh) {
		st.Unlock()
		return
	}
	b := s.submit(detachRCU(st), cpu, false)
	st.Unlock()
	s.arm(b)
}
