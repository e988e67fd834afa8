package percpu

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
)

// TestSlowArgumentSurvivesAborts: a PopBySize may be interrupted after the load of its object, and
// find the stack held or empty when it is restarted. It must still pass its argument to the slow
// path.
func TestSlowArgumentSurvivesAborts(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	slots := arrays(t, Main, 500)
	fill := func(st *Stack) {
		for i := range st.Objects() {
			st.Objects()[i] = mem.Ptr(selfTestBase)
		}
		st.SetSize(st.Cap())
	}
	for cpu := range NumCPU() {
		fill(slots.Stack(cpu, Main))
	}
	wrong := 0
	var pop PopBySize
	pop.Init(func(n int) (unsafe.Pointer, error) {
		if n != 8 {
			wrong++
		}
		return nil, errors.New("slow path")
	})
	fine, coarse := make([]Slots, MaxFine/FineStep), make([]Slots, MaxFine/CoarseStep)
	for i := range fine {
		fine[i] = slots
	}
	for i := range coarse {
		coarse[i] = slots
	}
	pop.Fill(Main, fine, coarse)
	var stop atomic.Bool
	done := make(chan struct{})
	go func() { // takes locks from other CPUs, which restarts sequences
		defer close(done)
		for !stop.Load() {
			for cpu := range NumCPU() {
				st := slots.LockCPU(cpu, Main)
				fill(st)
				st.Unlock()
			}
		}
	}()
	n := testutil.Stress(t, 20_000_000)
	for range n {
		_, _ = pop.Func()(8)
	}
	stop.Store(true)
	<-done
	if wrong > 0 {
		t.Errorf("%d of %d calls came to the slow path with another argument", wrong, n)
	}
}
