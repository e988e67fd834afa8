package sheaves

import (
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// contents returns the objects of the spare and of main, each from the bottom up.
func (r *rig) contents() (spare, main []unsafe.Pointer) {
	st := r.hold(percpu.Main)
	defer st.Unlock()
	if sh := sheafOf(st.Spare); sh != nil {
		spare = slices.Clone(sh.objects())
	}
	return spare, slices.Clone(st.Objects()[:st.Size()])
}

// TestSpareKeepsOrder: where main is empty or full and the spare can help, main has room, and
// objects, for a few operations of either kind afterwards, as far as there are any. What is moved
// for that keeps its order, and comes from the top.
func TestSpareKeepsOrder(t *testing.T) {
	for _, capacity := range []int{1, 2, 3, 4, 5, 8, 9, 100} {
		few := min(32, capacity/2)
		for spare := range capacity + 1 {
			r := newRigOf(t, 1, func(c *Config) { c.Capacity = capacity })
			if spare > 0 {
				r.arrange(state{main: 0, spare: spare})
				before, _ := r.contents()
				p := r.TryAlloc()
				r.got(p)
				stays := 0
				if spare > capacity-few {
					stays = spare - few
				}
				r.expectContents("Alloc", spare, before[:stays], before[stays:spare-1])
				if p != before[spare-1] {
					t.Errorf("Alloc, %d objects of %d in the spare: got another one than the last", spare, capacity)
				}
			}
			if spare < capacity {
				r.arrange(state{main: capacity, spare: spare})
				cold, hot := r.contents()
				stays := capacity - max(0, few-spare)
				p := r.take(1)[0]
				r.gone(p)
				if !r.TryFree(p, 0) {
					t.Fatalf("Free, %d objects of %d in the spare: refused", spare, capacity)
				}
				r.expectContents("Free", spare, hot[:stays], slices.Concat(cold, hot[stays:], []unsafe.Pointer{p}))
			}
		}
	}
}

func (r *rig) expectContents(operation string, spare int, wantSpare, wantMain []unsafe.Pointer) {
	r.t.Helper()
	what := fmt.Sprintf("%s, %d objects of %d in the spare", operation, spare, r.Capacity())
	gotSpare, gotMain := r.contents()
	if !slices.Equal(gotSpare, wantSpare) {
		r.t.Errorf("%s: the spare has %v, want %v", what, gotSpare, wantSpare)
	}
	if !slices.Equal(gotMain, wantMain) {
		r.t.Errorf("%s: main has %v, want %v", what, gotMain, wantMain)
	}
}

// TestBalanceStaysInMain: Main was full or empty when it had changed places with the spare, and
// where as many objects were freed as allocated, a few brought them back. A CPU that has just
// turned to its spare does not need it again for some operations of either kind.
func TestBalanceStaysInMain(t *testing.T) {
	const capacity, few = 8, 4
	for _, before := range []state{{main: 0, spare: capacity}, {main: capacity, spare: 0}} {
		r := newRigOf(t, 1, func(c *Config) { c.Capacity = capacity })
		r.arrange(before)
		if before.main == 0 {
			alloc(r)
		} else {
			free(r)
		}
		spare, _ := r.contents()
		balance := func(first, then func(*rig) bool) {
			for _, f := range []func(*rig) bool{first, then, then, first} {
				for range few - 1 {
					f(r)
				}
				if now, _ := r.contents(); !slices.Equal(now, spare) {
					t.Errorf("from %+v, a balance of %d objects needed the spare", before, few-1)
				}
			}
		}
		balance(alloc, free)
		balance(free, alloc)
	}
}
