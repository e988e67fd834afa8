package sheaves

import (
	"context"
	"errors"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// TestFlushCPU (kernel: __pcs_flush_all_cpu): everything but the barn, and rcu_free through
// a grace period to the source.
func TestFlushCPU(t *testing.T) {
	r := newRig(t, 1)
	reader := r.reader()
	r.retire(3)
	r.arrange(state{3, 2, 1, 1})
	r.FlushCPU(0)
	r.expect(state{0, none, 1, 1}, events{Flushed: 5, SheafFree: 1})
	r.expectRCU(none, 1)
	r.start = r.Stats().Events
	reader.Quiescent()
	if !r.reapOne(&r.barns[0]) {
		t.Error("nothing is ready")
	}
	r.expect(state{0, none, 1, 1}, events{Flushed: 3, SheafFree: 1})

	r.start = r.Stats().Events
	r.FlushCPU(0) // nothing left, not even an empty sheaf
	r.expect(state{0, none, 1, 1}, nil)
	r.setSpare(0)
	r.FlushCPU(0)
	r.expect(state{0, none, 1, 1}, events{SheafFree: 1})
}

// TestFlushInBatches: main's lock is released for every 32 objects.
func TestFlushInBatches(t *testing.T) {
	r := newRigOf(t, 1, func(c *Config) { c.Capacity = 100 })
	r.arrange(state{100, none, 0, 0})
	var sizes []int
	var again func()
	again = func() {
		st := r.hold(percpu.Main) // hangs if the flush held it
		sizes = append(sizes, st.Size())
		st.Unlock()
		r.src.onFlush = again
	}
	r.src.onFlush = again
	r.FlushCPU(0)
	r.src.onFlush = nil
	if len(sizes) != 4 || sizes[0] != 68 || sizes[2] != 4 {
		t.Errorf("main held %v objects between the batches", sizes)
	}
	r.expect(state{0, none, 0, 0}, events{Flushed: 100})
}

// TestFlushMainGivesWay: without wait a flush ends where somebody else holds main.
func TestFlushMainGivesWay(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{4, none, 0, 0})
	st := r.hold(percpu.Main)
	if n := r.flushMain(0, false); n != 0 {
		t.Errorf("flushed %d objects of a held stack", n)
	}
	st.Unlock()
	if n := r.flushMain(0, false); n != 4 {
		t.Errorf("flushed %d objects, want 4", n)
	}
}

// TestFlush reaches every CPU, and Shrink every barn as well; what waits stays.
func TestFlush(t *testing.T) {
	r := newRig(t, 2)
	reader := r.reader()
	for cpu := range percpu.NumCPU() {
		r.moveTo(cpu)
		r.retire(2)
		r.arrange(state{2, 3, 1, 1})
	}
	r.Flush()
	for cpu := range percpu.NumCPU() {
		r.cpu = cpu
		if got, want := r.state(), (state{0, none, 1, 1}); got != want {
			t.Errorf("CPU %d: %+v, want %+v", cpu, got, want)
		}
	}
	r.Shrink()
	for cpu := range percpu.NumCPU() {
		r.cpu = cpu
		if got, want := r.state(), (state{0, none, 0, 0}); got != want {
			t.Errorf("CPU %d: %+v, want %+v", cpu, got, want)
		}
		r.expectRCU(none, 1)
	}
	reader.Offline()
}

// TestClose: everything comes home, from everywhere, after its grace period; later
// operations are turned away.
func TestClose(t *testing.T) {
	r := newRig(t, 2)
	for cpu := range percpu.NumCPU() {
		r.moveTo(cpu)
		r.park(1)
		r.retire(3)
		r.arrange(state{2, 3, 2, 2})
	}
	r.Close()
	if r.src.away() != 0 || len(r.pool.of) > 0 {
		t.Errorf("%d objects are out, %d pools mapped", r.src.away(), len(r.pool.of))
	}
	if got := r.src.expiries(); got != 7*percpu.NumCPU() {
		t.Errorf("%d objects expired", got)
	}
	// The barns are full; what was in rcu_free isn't even offered to them.
	if got := int(r.Stats().Events[BarnPutFail] - r.start[BarnPutFail]); got > percpu.NumCPU() {
		t.Errorf("%d sheaves were refused by barns", got)
	}
	if r.Alloc() != nil || r.AllocNode(0) != nil || r.AllocBulk(make([]unsafe.Pointer, 1)) != 0 {
		t.Error("a closed set gave an object")
	}
	st := r.Stats()
	if st.MainObjects != 0 || st.RCUObjects != 0 || st.Barns[0] != (BarnStats{}) {
		t.Errorf("a closed set holds %+v", st)
	}
	r.Flush() // of nothing; must not fall over closed stacks
	r.barrier()
	r.Shrink()
	r.tick()
	r.FlushCPU(0)
}

// TestCloseWaitsForReaders: destructors of a closing set run after the grace period.
func TestCloseWaitsForReaders(t *testing.T) {
	r := newRig(t, 1)
	reader := r.reader()
	r.park(1)
	r.retire(1)
	closed := make(chan struct{})
	go func() { r.Close(); close(closed) }()
	stays(t, "Close doesn't wait for a reader", closed)
	if r.src.expiries() != 0 {
		t.Error("objects expired under a reader")
	}
	reader.Offline()
	<-closed
}

// TestCloseContext: what a reader kept from its end is closed later, once.
func TestCloseContext(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{2, 3, 2, 2})
	reader := r.reader()
	r.retire(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		closed := make(chan error)
		go func() { closed <- r.CloseContext(ctx) }() // not whom a checked build takes for the reader
		if err := <-closed; !errors.Is(err, context.Canceled) {
			t.Errorf("CloseContext under a reader: %v", err)
		}
		if r.Alloc() != nil || r.src.expiries() != 0 {
			t.Error("a set that is being closed gave an object, or ended one under a reader")
		}
	}
	reader.Offline()
	if err := r.CloseContext(t.Context()); err != nil || r.src.expiries() != 1 {
		t.Errorf("CloseContext: %v, %d objects expired", err, r.src.expiries())
	}
	reader.Online()
	if err := r.CloseContext(ctx); err != nil {
		t.Errorf("CloseContext of a closed set: %v", err)
	}
	reader.Offline()
}

// TestCloseWithLoans: borrowed sheaves come home late, and only then is the memory
// given back.
func TestCloseWithLoans(t *testing.T) {
	r := newRig(t, 1)
	l, large := r.borrow(2), r.borrow(9)
	r.use(l, 1)
	r.Close()
	if len(r.pool.of) == 0 {
		t.Fatal("a borrowed sheaf was unmapped")
	}
	if _, err := r.pool.get(r.Capacity()); err == nil {
		t.Error("a closed pool gave a sheaf")
	}
	r.use(l, 1)
	r.Return(large)
	r.Return(l)
	if len(r.pool.of) > 0 {
		t.Errorf("%d pools are still mapped", len(r.pool.of))
	}
}

// TestFlushMainEnds: a CPU that goes on freeing doesn't keep a flush going.
func TestFlushMainEnds(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{4, none, 0, 0})
	r.src.onFlush = func() {
		st := r.hold(percpu.Main)
		st.PushN(r.src.take(0, 2))
		st.Unlock()
	}
	if n := r.flushMain(0, true); n != 4 {
		t.Errorf("flushed %d objects of a sheaf that held 4", n)
	}
	r.expect(state{2, none, 0, 0}, events{Flushed: 4})
}
