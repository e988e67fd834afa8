package sheaves

import "github.com/slubd/slubd/internal/percpu"

// none stands for a sheaf that is absent.
const none = -1

// A state is what one CPU and the barn of its node hold.
type state struct {
	main, spare int // objects, or none
	full, empty int // the barn's sheaves
}

type events map[Event]int

// sheafWith makes a detached sheaf with n objects.
func (r *rig) sheafWith(n int) *sheaf {
	sh, err := r.pool.get(r.Capacity(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	copy(sh.slots(), r.src.take(r.homes.Index(r.cpu), n))
	sh.size = uint32(n)
	return sh
}

// drop undoes sheafWith.
func (r *rig) drop(sh *sheaf) {
	if sh != nil {
		r.src.giveBack(sh.objects())
		sh.size = 0
		r.pool.put(sh)
	}
}

// setMain and setSpare change the CPU's sheaves without counting anything.
func (r *rig) setMain(n int) {
	st := r.slots.LockCPU(r.cpu, percpu.Main)
	r.src.giveBack(st.Objects()[:st.Size()])
	st.SetSize(copy(st.Objects(), r.src.take(r.homes.Index(r.cpu), n)))
	st.Unlock()
}

func (r *rig) setSpare(n int) {
	var sh *sheaf
	if n != none {
		sh = r.sheafWith(n)
	}
	st := r.slots.LockCPU(r.cpu, percpu.Main)
	old := sheafOf(st.Spare)
	setSpare(st, sh)
	st.Unlock()
	r.drop(old)
}

// arrange sets a state, and begins to count events.
func (r *rig) arrange(s state) {
	r.setMain(s.main)
	r.setSpare(s.spare)
	b, _ := r.barnOf(r.cpu)
	full, empty := b.drain()
	for _, l := range []*list{&full, &empty} {
		for sh := l.pop(); sh != nil; sh = l.pop() {
			r.drop(sh)
		}
	}
	for range s.full {
		b.put(r.sheafWith(r.Capacity()))
	}
	for range s.empty {
		b.put(r.sheafWith(0))
	}
	r.start = r.Stats().Events
}

// state reads back what arrange has set. A closed CPU has no main.
func (r *rig) state() (s state) {
	st := r.slots.LockCPU(r.cpu, percpu.Main)
	s.main, s.spare = none, none
	if st.Cap() > 0 {
		s.main = st.Size()
	}
	if spare := sheafOf(st.Spare); spare != nil {
		s.spare = int(spare.size)
	}
	st.Unlock()
	b := r.Stats().Barns[r.homes.Index(r.cpu)]
	s.full, s.empty = b.Full, b.Empty
	return s
}

// expect compares state and events since arrange.
func (r *rig) expect(want state, counted events) {
	r.t.Helper()
	if got := r.state(); got != want {
		r.t.Errorf("state %+v, want %+v", got, want)
	}
	r.expectEvents(counted)
}

// expectEvents compares the events since arrange, except for those that the stacks' own header
// words count: TestStats and the stress tests look at these.
func (r *rig) expectEvents(counted events) {
	r.t.Helper()
	now := r.Stats().Events
	for e := range NumEvents {
		if e == AllocFastpath || e == FreeFastpath || e == FreeRCUSheaf {
			continue
		}
		if got := int(now[e] - r.start[e]); got != counted[e] {
			r.t.Errorf("%v counted %d times, want %d", e, got, counted[e])
		}
	}
}
