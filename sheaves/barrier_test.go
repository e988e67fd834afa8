package sheaves

import (
	"context"
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

func (r *rig) barrier() {
	r.t.Helper()
	if err := r.Barrier(context.Background()); err != nil {
		r.t.Error(err)
	}
}

// TestBarrier: everything accepted before has expired after, whichever CPU it is on,
// and nothing of it went to the barn.
func TestBarrier(t *testing.T) {
	r := newRig(t, 1)
	r.barrier() // of nothing
	objs := r.park(1)
	objs = append(objs, r.retire(3)...)
	if percpu.NumCPU() > 1 {
		r.moveTo(1)
		objs = append(objs, r.retire(1)...)
	}
	r.start = r.Stats().Events
	r.barrier()
	slices.SortFunc(objs, byAddress)
	slices.SortFunc(r.src.expired, byAddress)
	if !slices.Equal(r.src.expired, objs) {
		t.Errorf("expired %v, want %v", r.src.expired, objs)
	}
	if got := int(r.Stats().Events[Flushed] - r.start[Flushed]); got != len(objs)-4 {
		t.Errorf("flushed %d objects, want those of the part-full sheaves", got)
	}
}

func byAddress(a, b unsafe.Pointer) int { return int(uintptr(a)) - int(uintptr(b)) }

// TestBarrierFindsDetached: between leaving its CPU and waiting in the barn a sheaf is
// protected by the stack's lock, lest a Barrier miss it.
func TestBarrierFindsDetached(t *testing.T) {
	for name, detach := range map[string]func(*rig){
		"by the object that fills it": func(r *rig) { r.FreeRCU(r.src.take(0, 1)[0], own(0), true) },
		"by a flush":                  func(r *rig) { r.submitCPU(0, false) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.retire(3)
			passed := make(chan struct{})
			r.onNodeOfCPU = func() { // in submit
				go func() {
					defer close(passed)
					r.barrier()
					if got := r.src.expiries(); got < 3 {
						t.Errorf("Barrier returned with %d objects expired", got)
					}
				}()
				stays(t, "Barrier passes a detached sheaf", passed)
			}
			detach(r)
			<-passed
		})
	}
}

// TestBarrierWaitsForExpire: others' destructors have returned when Barrier does.
func TestBarrierWaitsForExpire(t *testing.T) {
	r := newRig(t, 1)
	r.park(1)
	inside, release, passed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r.src.onExpire = func() { close(inside); <-release }
	go func() {
		r.reapOne(&r.barns[0])
		close(passed)
	}()
	<-inside
	done := make(chan struct{})
	go func() { r.barrier(); close(done) }()
	stays(t, "Barrier returns before Expire", done)
	close(release)
	<-done
	<-passed
}

// TestBarrierIsBounded: sheaves that come while Barrier is at work don't keep it.
func TestBarrierIsBounded(t *testing.T) {
	r := newRig(t, 1)
	r.park(2)
	const most = 50
	rounds := 0
	var again func()
	again = func() {
		if rounds++; rounds < most {
			r.src.onExpire = again
		}
		for range 2 * r.Capacity() {
			if p := r.src.take(0, 1)[0]; !r.FreeRCU(p, own(0), true) {
				r.src.giveBack([]unsafe.Pointer{p})
			}
		}
	}
	r.src.onExpire = again
	r.barrier()
	if rounds != 2 {
		t.Errorf("Barrier has expired %d sheaves for the 2 that were there", rounds)
	}
	r.src.onExpire = nil
}
