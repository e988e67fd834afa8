//go:build amd64 || arm64

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

// TestSlowArgumentSurvivesAborts: an operation by size may be interrupted after the load of its
// object, and find the stack held or empty when it is restarted. It must still pass its argument to
// the slow path. The same holds for the words of a slice that is freed on a full stack.
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
	errSlow := errors.New("slow path")
	note := func(right bool) {
		if !right {
			wrong++
		}
	}
	var pop PopBySize
	pop.Init(func(n int) (unsafe.Pointer, error) { note(n == 8); return nil, errSlow })
	fine, coarse := make([]Slots, MaxFine/FineStep), make([]Slots, MaxFine/CoarseStep)
	for i := range fine {
		fine[i] = slots
	}
	for i := range coarse {
		coarse[i] = slots
	}
	pop.Fill(Main, fine, coarse)
	slice := newSlice(&pop, func(n int) ([]byte, error) { note(n == 9); return nil, errSlow })
	var free FreeSliceByOwner
	free.Init(func(s []byte) { note(isSlice(s, object(1), 3, 7)) })
	free.Fill(testOwn>>NodeBits, []Filter{filter(slots, Main, testOwn)})
	freed := unsafe.Slice((*byte)(object(1)), 7)[:3]
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
	for range n / 2 {
		_, _ = pop.Func()(8)
		s, err := slice(9)
		note(err != nil || isSlice(s, unsafe.Pointer(unsafe.SliceData(s)), 9, sliceRoom))
		free.Func()(freed)
	}
	stop.Store(true)
	<-done
	if wrong > 0 {
		t.Errorf("%d of %d calls came to the slow path with another argument", wrong, n)
	}
}
