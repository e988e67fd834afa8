package sheaves

import (
	"math"
	"testing"
)

// A goroutine that moves to another CPU before it returns what a sequence has popped makes no
// counter of that CPU wrap around.
func TestCPUStatsAfterMove(t *testing.T) {
	r := newRigOf(t, 2, noOthers)
	r.arrange(state{main: 2, spare: none})
	p := r.TryAlloc()
	if p == nil {
		t.Fatal("main has no object")
	}
	r.moveTo(1)
	r.Unpop(p, false)
	r.moveTo(0)
	sum := uint64(0)
	for _, cpu := range r.CPUStats() {
		n := cpu.Events[AllocFastpath]
		if sum += n; n > math.MaxInt64 {
			t.Errorf("CPU %d has made %d allocations", cpu.CPU, n)
		}
	}
	if want := r.Stats().Events[AllocFastpath]; sum != want {
		t.Errorf("CPUs have made %d allocations, all together %d", sum, want)
	}
}
