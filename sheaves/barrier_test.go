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

// TestBarrier: everything that was accepted before it is reclaimed after it, whichever CPU it was
// on, and nothing of it went to the barn.
func TestBarrier(t *testing.T) {
	r := newRig(t, 1)
	r.barrier() // of nothing
	objs := r.park(1)
	objs = append(objs, r.freeRCU(3)...)
	if percpu.NumCPU() > 1 {
		r.moveTo(1)
		objs = append(objs, r.freeRCU(1)...)
	}
	r.start = r.Stats().Events
	r.barrier()
	slices.SortFunc(objs, byAddress)
	slices.SortFunc(r.src.reclaimed, byAddress)
	if !slices.Equal(r.src.reclaimed, objs) {
		t.Errorf("reclaimed %v, want %v", r.src.reclaimed, objs)
	}
	if got := int(r.Stats().Events[SheafFlush] - r.start[SheafFlush]); got != len(objs)-4 {
		t.Errorf("flushed %d objects, want those of the part-full sheaves", got)
	}
}

func byAddress(a, b unsafe.Pointer) int { return int(uintptr(a)) - int(uintptr(b)) }

// TestBarrierFindsDetached: until a sheaf that has left its CPU is in the barn the stack's lock is
// held, so that no Barrier misses it.
func TestBarrierFindsDetached(t *testing.T) {
	for name, detach := range map[string]func(*rig){
		"by the object that fills it": func(r *rig) { r.TryFreeRCU(r.src.take(0, 1)[0], 0, MayWait) },
		"by a flush":                  func(r *rig) { r.startCPU(0, false) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.freeRCU(3)
			passed := make(chan struct{})
			r.onBarnOf = func() { // in start
				go func() {
					defer close(passed)
					r.barrier()
					if got := r.src.reclaims(); got < 3 {
						t.Errorf("Barrier returned with %d objects reclaimed", got)
					}
				}()
				doesNotHappen(t, "Barrier passes a detached sheaf", passed)
			}
			detach(r)
			<-passed
		})
	}
}

// TestBarrierWaitsForReclaim: destructors that run on other goroutines have returned when Barrier
// does.
func TestBarrierWaitsForReclaim(t *testing.T) {
	r := newRig(t, 1)
	r.park(1)
	inside, release, passed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r.src.onReclaim = func() { close(inside); <-release }
	go func() {
		r.reclaimOne(&r.barns[0])
		close(passed)
	}()
	<-inside
	done := make(chan struct{})
	go func() { r.barrier(); close(done) }()
	doesNotHappen(t, "Barrier returns before Reclaim", done)
	close(release)
	<-done
	<-passed
}

// TestBarrierIsBounded: sheaves that come while a Barrier runs don't prolong it.
func TestBarrierIsBounded(t *testing.T) {
	r := newRig(t, 1)
	r.park(2)
	const most = 50
	rounds := 0
	var again func()
	again = func() {
		if rounds++; rounds < most {
			r.src.onReclaim = again
		}
		for range 2 * r.Capacity() {
			if p := r.src.take(0, 1)[0]; !r.TryFreeRCU(p, 0, MayWait) {
				r.src.giveBack([]unsafe.Pointer{p})
			}
		}
	}
	r.src.onReclaim = again
	r.barrier()
	if rounds != 2 {
		t.Errorf("Barrier has reclaimed %d sheaves for the 2 that were there", rounds)
	}
	r.src.onReclaim = nil
}

// TestBarrierOfCPUThatLooksIdle: The kernel's kvfree_rcu_barrier queued its flush only for CPUs
// whose rcu_free looked present. A sheaf that had just been detached, by the object that filled it,
// was neither there nor with call_rcu yet, because that was called after the unlock.
func TestBarrierOfCPUThatLooksIdle(t *testing.T) {
	r := newRig(t, 1)
	r.freeRCU(r.Capacity() - 1)
	last := r.src.take(0, 1)[0]
	idle := false
	done := make(chan struct{})
	r.onBarnOf = func() { // in submit: rcu_free is gone, and not in the barn yet
		idle = sheafOf(r.slots.Stack(0, percpu.RCU).Sheaf) == nil && !r.barns[0].anyWaiting()
		go func() { defer close(done); r.barrier() }()
		doesNotHappen(t, "Barrier passes a CPU that looks idle", done)
	}
	if !r.TryFreeRCU(last, 0, MayWait) {
		t.Error("refused")
	}
	<-done
	if got := r.src.reclaims(); !idle || got != r.Capacity() {
		t.Errorf("idle: %v; Barrier returned with %d of %d objects reclaimed", idle, got, r.Capacity())
	}
}

// TestBarrierOfNothingToFlush: Where nothing had to be flushed anywhere, the kernel's barrier did
// not wait for callbacks at all: neither for queued ones nor for one that was running.
func TestBarrierOfNothingToFlush(t *testing.T) {
	r := newRig(t, 1)
	reader := r.reader()
	r.park(2)
	r.expectRCU(none, 2)
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { defer close(done); r.barrier() }()
	doesNotHappen(t, "Barrier doesn't wait for the grace period", done)
	r.src.onReclaim = func() { close(inside); <-leave }
	reader.Offline()
	<-inside
	second := make(chan struct{})
	go func() { defer close(second); r.barrier() }()
	doesNotHappen(t, "Barrier doesn't wait for a destructor", second)
	close(leave)
	<-done
	<-second
	if got := r.src.reclaims(); got != 2*r.Capacity() {
		t.Errorf("%d objects have reclaimed", got)
	}
}
