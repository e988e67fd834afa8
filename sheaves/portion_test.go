package sheaves

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// TestPortions: an Alloc or a Free that the barn can't serve exchanges a portion of a sheaf with
// the Source, not all of it: an operation that handles some hundred objects takes tens of
// microseconds.
// The next portion - 1 operations are served without the Source.
func TestPortions(t *testing.T) {
	for _, capacity := range []int{1, 4, MaxPortion, MaxPortion + 1, 100, 240} {
		want := min(MaxPortion, capacity)
		r := newRigOf(t, 1, func(c *Config) { c.Capacity, c.MaxFull, c.MaxEmpty = capacity, 1, 1 })

		for _, spare := range []int{none, 0} {
			r.arrange(state{main: 0, spare: spare, empty: 1})
			for i := range 2 * want {
				if !alloc(r) {
					t.Fatalf("Alloc fails with capacity %d", capacity)
				}
				if n, most := r.counted(SheafRefill), (1+i/want)*want; n != most {
					t.Fatalf("capacity %d, Alloc %d: %d objects came from the Source, want %d", capacity, i, n, most)
				}
			}
		}

		r.arrange(state{main: capacity, spare: capacity, full: 1})
		spare, _ := r.contents()
		r.src.flushed = nil
		for i, p := range r.take(2 * want) {
			r.gone(p)
			if !r.TryFree(p, 0) {
				t.Fatalf("Free fails with capacity %d", capacity)
			}
			if n, most := r.counted(SheafFlush), (1+i/want)*want; n != most {
				t.Fatalf("capacity %d, Free %d: %d objects went to the Source, want %d", capacity, i, n, most)
			}
		}
		// What was freed last is the most likely to be in the cache of the CPU.
		if hottest := spare[capacity-want:]; !slices.Equal(r.src.flushed[:want], hottest) {
			t.Errorf("capacity %d: %v went to the Source first, want %v", capacity, r.src.flushed[:want], hottest)
		}
		r.drain()
	}
}

// counted is how often an event was counted since arrange.
func (r *rig) counted(e Event) int { return int(r.Stats().Events[e] - r.start[e]) }

// drain frees what the test still has.
func (r *rig) drain() {
	for p := range r.mine {
		r.gone(p)
		r.src.giveBack([]unsafe.Pointer{p})
	}
}

// TestPortionOfNoReturn: a Source that doesn't return from a flush has its portion. What the sheaf
// still holds is in the barn.
func TestPortionOfNoReturn(t *testing.T) {
	const capacity = 2 * MaxPortion
	r := newRigOf(t, 1, func(c *Config) { c.Capacity, c.MaxFull = capacity, 1 })
	r.arrange(state{main: capacity, spare: capacity, full: 1})
	r.src.onFlush = func() { panic("flush") }
	p := r.take(1)[0]
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the Source's panic is lost")
			}
		}()
		r.TryFree(p, 0)
	}()
	r.expect(state{main: capacity, spare: none, full: 2}, events{BarnPutFail: 1, BarnPut: 1, SheafFlush: MaxPortion})
}

// TestInterruptedFreesDontFillTheBarn: a Free that finds its CPU's stack locked when it comes back
// from the Source can't put the spare back. The spare's objects don't make the barn grow.
func TestInterruptedFreesDontFillTheBarn(t *testing.T) {
	const capacity = 2 * MaxPortion
	r := newRigOf(t, 1, func(c *Config) { c.Capacity, c.MaxFull = capacity, 1 })
	for range 3 {
		r.arrange(state{main: capacity, spare: capacity, full: 1})
		r.src.onFlush = func() { r.release = r.hold(percpu.Main).Unlock }
		p := r.take(1)[0]
		if r.TryFree(p, 0) {
			t.Error("a Free succeeded on a locked stack")
		}
		r.release()
		r.release = nil
		if n := r.barns[0].fulls(); n != 1 {
			t.Errorf("the barn has %d full sheaves, and keeps 1", n)
		}
	}
}
