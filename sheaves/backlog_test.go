package sheaves

import (
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

const charge = 100

// limited is a rig whose backlog has the given limits, in objects.
func limited(t *testing.T, soft, hard uint64, maxWait time.Duration) *rig {
	return newRigOf(t, 1, func(c *Config) {
		c.ObjectSize = charge
		c.Backlog = NewBacklog(BacklogConfig{Domain: c.Domain, MaxWait: maxWait,
			Limits: func() (uint64, uint64) { return soft * charge, hard * charge }})
	})
}

// owes fails unless so many objects are charged.
func (r *rig) owes(when string, objects int) {
	r.t.Helper()
	if got := r.Backlog.Stats().Bytes; got != uint64(objects)*charge {
		r.t.Errorf("%s: %d bytes are charged, want %d objects' of %d", when, got, objects, charge)
	}
}

// TestCharges: a sheaf is charged whole while it is a CPU's, for what it holds while it
// waits, and no more once it is expired.
func TestCharges(t *testing.T) {
	r := limited(t, 0, 0, 0)
	reader := r.reader()
	r.owes("at first", 0)
	r.retire(1)
	r.owes("with one object in rcu_free", 4)
	r.retire(2)
	r.owes("with three", 4)
	r.submitCPU(0, false)
	r.owes("with three submitted", 3)
	r.retire(4)
	r.owes("with a full sheaf beside them", 7)
	reader.Quiescent()
	r.reapOne(&r.barns[0])
	r.owes("when the younger is expired", 3)
	r.retire(1)
	r.Reap()
	r.owes("when the older is, too", 4)
	reader.Offline()
	r.Close()
	r.owes("after Close", 0)
	if s := r.Backlog.Stats(); s.Peak != 7*charge || s.Hurries+s.Waits+s.Overruns != 0 {
		t.Errorf("without limits: %+v", s)
	}
}

// TestChargesAreTakenBack: an object that gets no rcu_free of its own owes nothing.
func TestChargesAreTakenBack(t *testing.T) {
	t.Run("no memory", func(t *testing.T) {
		r := limited(t, 0, 0, 0)
		r.arrange(state{4, none, 0, 0})
		r.outOfMemory()
		r.refuseRCU(own(0))
		r.owes("refused", 0)
	})
	t.Run("no empty sheaf in the barn", func(t *testing.T) {
		r := limited(t, 0, 0, 0)
		st := r.hold(percpu.RCU)
		if r.adoptEmpty(st, 0) {
			t.Error("adopted what isn't there")
		}
		st.Unlock()
		r.owes("not adopted", 0)
	})
	t.Run("held", func(t *testing.T) {
		r := limited(t, 0, 0, 0)
		st := r.hold(percpu.RCU)
		r.refuseRCU(own(0))
		if got, _ := r.installRCU(0, own(0), true); got != nil {
			t.Error("installed in a held stack")
		}
		st.Unlock()
		r.owes("refused", 0)
	})
	t.Run("another was faster", func(t *testing.T) {
		r := limited(t, 0, 0, 0)
		r.arrange(state{0, 0, 0, 2})
		p := r.take(1)[0]
		r.onNodeOfCPU = func() { r.retire(1) }
		if !r.FreeRCU(p, own(0), true) {
			t.Error("refused")
		}
		r.gone(p)
		r.owes("both in one sheaf", 4)
	})
}

// TestHardLimit: it holds to the byte; a first charge may exceed it, and what may not wait.
func TestHardLimit(t *testing.T) {
	b := NewBacklog(BacklogConfig{Domain: new(rcu.Domain), Limits: func() (uint64, uint64) { return 0, 10 }, Quiet: 5})
	for _, try := range []struct {
		n  uintptr
		ok bool
	}{{4, true}, {7, false}, {6, true}, {1, false}} {
		if b.TryCharge(try.n) != try.ok {
			t.Errorf("charging %d at %d of 10: %v", try.n, b.Stats().Bytes, !try.ok)
		}
	}
	b.Charge(3, false)
	if s := b.Stats(); s.Bytes != 13 || s.Peak != 13 || s.Overruns != 1 || s.Waits != 0 || s.Hard != 10 {
		t.Errorf("one overrun by 3: %+v", s)
	}
	b.Release(13)
	if !b.TryCharge(1000) {
		t.Error("a first charge was refused")
	}
	var none *Backlog
	none.Charge(1000, true)
	none.Release(1)
	none.Relieve()
	if none.Stats() != (BacklogStats{}) || !none.TryCharge(1) {
		t.Error("nil counts")
	}
}

// TestWaitEnds: who waits at the hard limit goes on when a reader's report makes room,
// though no timer runs and nobody allocates, and exceeds nothing.
func TestWaitEnds(t *testing.T) {
	r := limited(t, 0, 8, -1)
	reader := r.reader()
	r.retire(8)
	waited := make(chan bool)
	p := r.take(1)[0]
	go func() { waited <- r.FreeRCU(p, own(0), true) }()
	eventually(t, "FreeRCU waits", func() bool { return r.Backlog.Stats().Waits == 1 })
	select {
	case <-waited:
		t.Error("went on while the reader is online")
	case <-time.After(20 * time.Millisecond):
	}
	if n := r.src.expiries(); n != 0 {
		t.Errorf("%d objects expired under a reader", n)
	}
	reader.Offline()
	if !<-waited {
		t.Error("refused after the wait")
	}
	r.gone(p)
	if s := r.Backlog.Stats(); s.Overruns != 0 || s.Peak > 8*charge || s.Waited == 0 || r.Backlog.since.Load() != 0 {
		t.Errorf("after the wait: %+v", s)
	}
}

// TestHalfFullSheavesAreNoDeadlock: what fills the limit is an rcu_free that nobody adds
// to.
func TestHalfFullSheavesAreNoDeadlock(t *testing.T) {
	r := limited(t, 0, 4, -1)
	r.retire(1)
	r.within("FreeRCU", func() { r.Backlog.Charge(4*charge, true) })
	if n := r.src.expiries(); n != 1 {
		t.Errorf("%d objects expired, want the one in the way", n)
	}
	r.Backlog.Release(4 * charge)
}

// TestWaitGivesUp: behind a reader that doesn't report, and at once in a callback, which
// would wait for itself.
func TestWaitGivesUp(t *testing.T) {
	r := limited(t, 0, 4, time.Millisecond)
	reader := r.reader()
	r.retire(4)
	r.retire(1)
	if s := r.Backlog.Stats(); s.Waits != 1 || s.Overruns != 1 || s.Bytes != 8*charge {
		t.Errorf("a sheaf too many: %+v", s)
	}
	if r.Backlog.since.Load() == 0 {
		t.Error("the limit shows as not in force")
	}
	reader.Offline()
	r.Reap()
	if r.Backlog.since.Load() != 0 {
		t.Error("with room for more the limit shows as in force")
	}

	r = limited(t, 0, 4, -1)
	r.retire(4)
	done := make(chan struct{})
	r.Domain.Defer(func() {
		defer close(done)
		defer r.Domain.Register("in the way").Close()
		r.Backlog.Charge(charge, true)
	})
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatal("a callback waits for a reader, and all others with it")
	}
	if s := r.Backlog.Stats(); s.Overruns != 1 {
		t.Errorf("in a callback: %+v", s)
	}
	r.Backlog.Release(charge)
}

// TestWaitsGrow: a wait lasts as long as the limit has held others up, and no more than
// what the user has set.
func TestWaitsGrow(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		inForce, max, want time.Duration
	}{
		"first":         {0, 0, MinWait},
		"soon":          {MinWait / 2, 0, MinWait},
		"later":         {time.Minute, 0, time.Minute},
		"bounded":       {time.Minute, time.Second, time.Second},
		"without bound": {time.Minute, -1, -1},
	} {
		b := NewBacklog(BacklogConfig{MaxWait: c.max})
		if c.inForce > 0 {
			b.since.Store(int64(now.Add(-c.inForce).Sub(epoch)))
		}
		if got := b.bound(now); got != c.want {
			t.Errorf("%s: may wait %v, want %v", name, got, c.want)
		}
	}
}

// TestSoftLimit: beyond it everything is submitted and reaped without a timer or anybody
// who wants objects, in one round at a time.
func TestSoftLimit(t *testing.T) {
	r := limited(t, 9, 0, 0)
	reader := r.reader()
	r.retire(4)
	r.retire(4)
	if n := r.Backlog.Stats().Hurries; n != 0 {
		t.Errorf("hurried %d times below the limit", n)
	}
	r.retire(1)
	eventually(t, "the half-full sheaf is submitted", func() bool { return r.rcuSize() == none })
	for range 5 {
		r.retire(4)
	}
	if s := r.Backlog.Stats(); s.Hurries != 1 || s.Waits != 0 || s.Overruns != 0 {
		t.Errorf("behind one reader: %+v", s)
	}
	if n := r.src.expiries(); n != 0 {
		t.Errorf("%d objects expired under a reader", n)
	}
	reader.Offline()
	eventually(t, "all is reaped", func() bool { return r.src.expiries() == 29 })
	r.owes("then", 0)
	r.retire(12)
	// What comes after the hurry may be too little for another one.
	eventually(t, "the next are, too", func() bool { return r.src.expiries() >= 29+9 })
}

// TestSoftLimitOnAdoption: the charge under a stack's lock counts, too, once that is free.
func TestSoftLimitOnAdoption(t *testing.T) {
	r := limited(t, 3, 0, 0)
	r.arrange(state{2, 1, 0, 1})
	r.retire(1)
	if s := r.Backlog.Stats(); s.Hurries != 1 || s.Peak != 4*charge {
		t.Errorf("%+v, want one hurry for a sheaf of 4 objects", s)
	}
	eventually(t, "all is reaped", func() bool { return r.src.expiries() == 1 })
}

// TestLeave: Close ends the set's part in what hurries.
func TestLeave(t *testing.T) {
	r := limited(t, 1, 0, 0)
	b := r.Backlog
	other := &counting{}
	b.Join(other)
	r.Close()
	if len(b.members) != 1 || b.members[0] != Member(other) {
		t.Errorf("%d members are left, want the other one", len(b.members))
	}
	b.Charge(2*charge, false)
	b.Relieve()
	eventually(t, "the other is hurried", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return other.reaped == 1 })
	b.Leave(other)
	b.Leave(other)
	if other.submitted != 1 || len(b.members) != 0 {
		t.Errorf("submitted %d times, %d members", other.submitted, len(b.members))
	}
	b.Release(2 * charge)
}

type counting struct{ submitted, reaped int }

func (c *counting) Submit() { c.submitted++ }
func (c *counting) Reap()   { c.reaped++ }

// TestHurriedAnew: what is charged while a rush reaps, and so may come too late for it,
// starts another one.
func TestHurriedAnew(t *testing.T) {
	b := NewBacklog(BacklogConfig{Domain: new(rcu.Domain), Limits: func() (uint64, uint64) { return charge, 0 }})
	m := &relapsing{b: b}
	b.Join(m)
	b.Charge(2*charge, false)
	b.Relieve()
	eventually(t, "the member is reaped", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return m.reaped > 0 })
	if n := b.Stats().Hurries; n != 2 {
		t.Errorf("hurried %d times, want once more for what came during the first", n)
	}
	b.Leave(m)
}

// relapsing goes beyond the limit again when it is reaped first.
type relapsing struct {
	counting
	b *Backlog
}

func (r *relapsing) Reap() {
	if r.counting.Reap(); r.reaped == 1 {
		r.b.Charge(charge, false)
		r.b.Relieve()
	}
}

// TestReapKeepsOrder: hurrying takes back whatever is ready, and nothing that isn't.
func TestReapKeepsOrder(t *testing.T) {
	r := limited(t, 0, 0, 0)
	reader := r.reader()
	var first []unsafe.Pointer
	first = append(first, r.retire(4)...)
	reader.Quiescent()
	r.retire(4)
	r.Reap()
	if n := r.src.expiries(); n != len(first) {
		t.Errorf("%d objects expired, want the %d whose reader has reported", n, len(first))
	}
}

// A sheaf is charged for what it holds, also where SetCapacity comes between the charge and
// the sheaf: larger or smaller ones.
func TestChargeOfAnotherCapacity(t *testing.T) {
	for _, capacity := range []int{40, 2} {
		r := limited(t, 0, 0, 0)
		n := r.Capacity()
		r.Backlog.Charge(r.bytes(n), true)
		if err := r.SetCapacity(capacity, 0); err != nil {
			t.Fatal(err)
		}
		st, _, ok := r.installCharged(0, own(0), n)
		if !ok {
			t.Fatal("no sheaf was installed")
		}
		st.Unlock()
		r.owes("with a sheaf of another capacity", capacity)
		r.submitCPU(0, false)
		r.owes("without", 0)
	}
}
