package sheaves

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/backlog"
	"github.com/slubd/slubd/internal/percpu"
)

const (
	charge    = 100
	unlimited = backlog.Unlimited
)

// limited is a rig whose backlog has the given limits, in objects.
func limited(t *testing.T, soft, hard int64, maxWait time.Duration) *rig {
	var b *backlog.Backlog
	r := newRigOf(t, 1, func(c *Config) {
		bytes := func(objects int64) int64 {
			if objects == unlimited {
				return unlimited
			}
			return objects * charge
		}
		b = backlog.New(backlog.Config{Domain: c.Domain, MaxWait: maxWait, SoftLimit: bytes(soft), HardLimit: bytes(hard)})
		c.ObjectSize, c.Backlog = charge, b
	})
	r.backlog = b
	return r
}

// expectCharged fails unless that many objects are charged.
func (r *rig) expectCharged(when string, objects int) {
	r.t.Helper()
	if got := r.backlog.Stats().Bytes; got != int64(objects)*charge {
		r.t.Errorf("%s: %d bytes are charged, want %d objects' of %d", when, got, objects, charge)
	}
}

// TestCharges: a sheaf is charged as a whole while it is a CPU's rcu_free, for what it holds while
// it waits, and not once it is reclaimed.
func TestCharges(t *testing.T) {
	r := limited(t, unlimited, unlimited, 0)
	reader := r.reader()
	r.expectCharged("at first", 0)
	r.freeRCU(1)
	r.expectCharged("with one object in rcu_free", 4)
	r.freeRCU(2)
	r.expectCharged("with three", 4)
	r.startCPU(0, false)
	r.expectCharged("with three submitted", 3)
	r.freeRCU(4)
	r.expectCharged("with a full sheaf beside them", 7)
	reader.Quiescent()
	r.reclaimOne(&r.barns[0])
	r.expectCharged("when the younger is reclaimed", 3)
	r.freeRCU(1)
	r.ReclaimReady()
	r.expectCharged("when the older is, too", 4)
	reader.Offline()
	r.Close()
	r.expectCharged("after Close", 0)
	if s := r.backlog.Stats(); s.Peak != 7*charge || s.Expedited+s.Waits+s.Overruns != 0 {
		t.Errorf("without limits: %+v", s)
	}
}

// TestChargesAreTakenBack: nothing stays charged for an object that gets no rcu_free of its own.
func TestChargesAreTakenBack(t *testing.T) {
	t.Run("no memory", func(t *testing.T) {
		r := limited(t, unlimited, unlimited, 0)
		r.arrange(state{main: 4, spare: none})
		r.outOfMemory()
		r.refuseRCU(0)
		r.expectCharged("refused", 0)
	})
	t.Run("no empty sheaf in the barn", func(t *testing.T) {
		r := limited(t, unlimited, unlimited, 0)
		st := r.hold(percpu.RCU)
		if r.adoptEmpty(st, 0) {
			t.Error("adopted what isn't there")
		}
		st.Unlock()
		r.expectCharged("not adopted", 0)
	})
	t.Run("held", func(t *testing.T) {
		r := limited(t, unlimited, unlimited, 0)
		st := r.hold(percpu.RCU)
		r.refuseRCU(0)
		if got, _ := r.installRCU(0, own(0), MayWait); got != nil {
			t.Error("installed in a held stack")
		}
		st.Unlock()
		r.expectCharged("refused", 0)
	})
	t.Run("another was faster", func(t *testing.T) {
		r := limited(t, unlimited, unlimited, 0)
		r.arrange(state{main: 0, spare: 0, empty: 2})
		p := r.take(1)[0]
		r.onBarnOf = func() { r.freeRCU(1) }
		if !r.TryFreeRCU(p, 0, MayWait) {
			t.Error("refused")
		}
		r.gone(p)
		r.expectCharged("both in one sheaf", 4)
	})
}

// TestWaitEnds: a FreeRCU that waits at the hard limit goes on when a reader's report makes room,
// even if no timer runs and nothing is allocated, and exceeds no limit.
func TestWaitEnds(t *testing.T) {
	r := limited(t, unlimited, 8, unlimited)
	reader := r.reader()
	r.freeRCU(8)
	waited := make(chan bool)
	p := r.take(1)[0]
	go func() { waited <- r.TryFreeRCU(p, 0, MayWait) }()
	eventually(t, "FreeRCU waits", func() bool { return r.backlog.Stats().Waits == 1 })
	select {
	case <-waited:
		t.Error("went on while the reader is online")
	case <-time.After(20 * time.Millisecond):
	}
	if n := r.src.reclaims(); n != 0 {
		t.Errorf("%d objects reclaimed under a reader", n)
	}
	reader.Offline()
	if !<-waited {
		t.Error("refused after the wait")
	}
	r.gone(p)
	if s := r.backlog.Stats(); s.Overruns != 0 || s.Peak > 8*charge || s.Waited == 0 {
		t.Errorf("after the wait: %+v", s)
	}
}

// TestHalfFullSheavesAreNoDeadlock: an rcu_free that nothing is added to fills the limit.
func TestHalfFullSheavesAreNoDeadlock(t *testing.T) {
	r := limited(t, unlimited, 4, unlimited)
	r.freeRCU(1)
	r.within("FreeRCU", func() { r.backlog.Charge(4*charge, MayWait) })
	if n := r.src.reclaims(); n != 1 {
		t.Errorf("%d objects reclaimed, want the one in the way", n)
	}
	r.backlog.Release(4 * charge)
}

// TestWaitGivesUp: a wait ends behind a reader that doesn't report, and at once in a callback,
// which would wait for itself.
func TestWaitGivesUp(t *testing.T) {
	r := limited(t, unlimited, 4, time.Millisecond)
	reader := r.reader()
	r.freeRCU(4)
	r.freeRCU(1)
	if s := r.backlog.Stats(); s.Waits != 1 || s.Overruns != 1 || s.Bytes != 8*charge {
		t.Errorf("a sheaf too many: %+v", s)
	}
	reader.Offline()
	r.ReclaimReady()

	r = limited(t, unlimited, 4, unlimited)
	r.freeRCU(4)
	done := make(chan struct{})
	r.domain.Defer(func() {
		defer close(done)
		defer r.domain.Register("in the way").Close()
		r.backlog.Charge(charge, MayWait)
	})
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatal("a callback waits for a reader, and all others with it")
	}
	if s := r.backlog.Stats(); s.Overruns != 1 {
		t.Errorf("in a callback: %+v", s)
	}
	r.backlog.Release(charge)
}

// TestSoftLimit: beyond it everything is started and reclaimed without a timer or an allocation, in
// one round at a time.
func TestSoftLimit(t *testing.T) {
	r := limited(t, 9, unlimited, 0)
	reader := r.reader()
	r.freeRCU(4)
	r.freeRCU(4)
	if n := r.backlog.Stats().Expedited; n != 0 {
		t.Errorf("expedited %d times below the limit", n)
	}
	r.freeRCU(1)
	eventually(t, "the half-full sheaf is submitted", func() bool { return r.rcuSize() == none })
	for range 5 {
		r.freeRCU(4)
	}
	if s := r.backlog.Stats(); s.Expedited != 1 || s.Waits != 0 || s.Overruns != 0 {
		t.Errorf("behind one reader: %+v", s)
	}
	if n := r.src.reclaims(); n != 0 {
		t.Errorf("%d objects reclaimed under a reader", n)
	}
	reader.Offline()
	eventually(t, "all is reaped", func() bool { return r.src.reclaims() == 29 })
	r.expectCharged("then", 0)
	r.freeRCU(9) // the worker of the round that this starts may hold the stack from here on
	eventually(t, "the next are, too", func() bool { return r.src.reclaims() == 29+9 })
}

// TestSoftLimitOnAdoption: a charge under a stack's lock counts too, once the lock is released.
func TestSoftLimitOnAdoption(t *testing.T) {
	r := limited(t, 3, unlimited, 0)
	r.arrange(state{main: 2, spare: 1, empty: 1})
	r.freeRCU(1)
	if s := r.backlog.Stats(); s.Expedited != 1 || s.Peak != 4*charge {
		t.Errorf("%+v, want one expedited round for a sheaf of 4 objects", s)
	}
	eventually(t, "all is reaped", func() bool { return r.src.reclaims() == 1 })
}

// TestSetIsAQueueUntilClose: New adds the set to its backlog, Close removes it.
func TestSetIsAQueueUntilClose(t *testing.T) {
	members := &memberList{}
	r := newRigOf(t, 1, func(c *Config) { c.Backlog = members })
	if len(members.added) != 1 || members.added[0] != Queue(r.Set) || len(members.removed) != 0 {
		t.Errorf("after New %d queues are added, %d removed", len(members.added), len(members.removed))
	}
	r.Close()
	if len(members.added) != 1 || len(members.removed) != 1 || members.removed[0] != Queue(r.Set) {
		t.Errorf("after Close %d queues are added, %d removed", len(members.added), len(members.removed))
	}
}

// memberList is a Backlog that only records its queues.
type memberList struct {
	*backlog.Backlog
	added, removed []Queue
}

func (m *memberList) Add(q Queue) { m.added = append(m.added, q) }
func (m *memberList) Remove(_ context.Context, q Queue) error {
	m.removed = append(m.removed, q)
	return nil
}

// TestReclaimReadyTakesNoOther: ReclaimReady reclaims all ready sheaves, and no other.
func TestReclaimReadyTakesNoOther(t *testing.T) {
	r := limited(t, unlimited, unlimited, 0)
	reader := r.reader()
	var first []unsafe.Pointer
	first = append(first, r.freeRCU(4)...)
	reader.Quiescent()
	r.freeRCU(4)
	r.ReclaimReady()
	if n := r.src.reclaims(); n != len(first) {
		t.Errorf("%d objects reclaimed, want the %d whose reader has reported", n, len(first))
	}
}

// TestChargeOfAnotherCapacity: a sheaf is charged for its own capacity, also if SetCapacity comes
// between the charge and the sheaf, and makes sheaves larger or smaller.
func TestChargeOfAnotherCapacity(t *testing.T) {
	for _, capacity := range []int{40, 2} {
		r := limited(t, unlimited, unlimited, 0)
		n := r.Capacity()
		r.backlog.Charge(r.bytes(n), MayWait)
		if err := r.SetCapacity(capacity, 0); err != nil {
			t.Fatal(err)
		}
		st, _, ok := r.installCharged(0, own(0), n)
		if !ok {
			t.Fatal("no sheaf was installed")
		}
		st.Unlock()
		r.expectCharged("with a sheaf of another capacity", capacity)
		r.startCPU(0, false)
		r.expectCharged("without", 0)
	}
}
