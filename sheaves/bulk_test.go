package sheaves

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// TestAllocBulk (kernel: alloc_from_pcs_bulk): main, spare, barn, and never a refill.
func TestAllocBulk(t *testing.T) {
	for name, tt := range map[string]struct {
		before    state
		want, got int
		after     state
		counted   events
	}{
		"nothing": {before: state{main: 2, spare: 4, full: 1},
			after: state{main: 2, spare: 4, full: 1}},
		"part of main": {before: state{main: 4, spare: 4, full: 1}, want: 3, got: 3,
			after: state{main: 1, spare: 4, full: 1}},
		"exactly main": {before: state{main: 4, spare: 4, full: 1}, want: 4, got: 4,
			after: state{main: 0, spare: 4, full: 1}},
		"main and spare": {before: state{main: 4, spare: 2, full: 1}, want: 5, got: 5,
			after: state{main: 1, spare: 0, full: 1}},
		"main, spare and barn": {before: state{main: 3, spare: 2, full: 2}, want: 10, got: 10,
			after: state{main: 3, spare: 0, empty: 2}, counted: events{BarnGet: 2}},
		"all there is": {before: state{main: 1, spare: 4, full: 2}, want: 20, got: 13,
			after: state{main: 0, spare: 0, empty: 2}, counted: events{BarnGet: 2, BarnGetFail: 1}},
		"no spare": {before: state{main: 1, spare: none, full: 1}, want: 5, got: 5,
			after: state{main: 0, spare: none, empty: 1}, counted: events{BarnGet: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(tt.before)
			dst := make([]unsafe.Pointer, tt.want)
			if got := r.AllocBulk(dst); got != tt.got {
				t.Errorf("got %d objects, want %d", got, tt.got)
			}
			r.got(dst...)
			if i := slices.Index(dst, nil); i >= 0 && i < tt.got {
				t.Errorf("object %d is nil", i)
			}
			r.expect(tt.after, tt.counted)
		})
	}
}

// TestAllocBulkReclaims: the objects of ready sheaves are taken too.
func TestAllocBulkReclaims(t *testing.T) {
	r := newRig(t, 1)
	reader := r.reader()
	r.park(2)
	reader.Quiescent()
	r.park(1)
	r.arrange(state{main: 0, spare: none, empty: 1})
	dst := make([]unsafe.Pointer, 20)
	if got := r.AllocBulk(dst); got != 8 {
		t.Errorf("got %d objects, want those of two sheaves", got)
	}
	r.got(dst...)
	r.expect(state{main: 0, spare: none, empty: 3}, events{BarnGet: 2, BarnPut: 2, BarnGetFail: 3})
}

// TestFreeBulk (kernel: free_to_pcs_bulk): main, spare, barn, and neither new sheaves nor flushes.
func TestFreeBulk(t *testing.T) {
	for name, tt := range map[string]struct {
		before     state
		given, put int
		after      state
		counted    events
	}{
		"nothing": {before: state{main: 4, spare: 4, full: 2, empty: 1},
			after: state{main: 4, spare: 4, full: 2, empty: 1}},
		"to main": {before: state{main: 1, spare: none}, given: 3, put: 3,
			after: state{main: 4, spare: none}},
		"main and spare": {before: state{main: 2, spare: 0}, given: 5, put: 5,
			after: state{main: 3, spare: 4}},
		"partly full spare": {before: state{main: 4, spare: 3}, given: 1, put: 1,
			after: state{main: 4, spare: 4}},
		"no spare": {before: state{main: 4, spare: none, empty: 1}, given: 4, put: 4,
			after: state{main: 4, spare: 4}},
		"no spare, no empty": {before: state{main: 3, spare: none}, given: 4, put: 1,
			after: state{main: 4, spare: none}},
		"main, spare and barn": {before: state{main: 3, spare: 3, full: 1, empty: 1}, given: 6, put: 6,
			after: state{main: 4, spare: 4, full: 2}, counted: events{BarnPut: 1}},
		"barn has too many": {before: state{main: 4, spare: 4, full: 2, empty: 1}, given: 3,
			after: state{main: 4, spare: 4, full: 2, empty: 1}, counted: events{BarnPutFail: 1}},
		"barn has no empty": {before: state{main: 4, spare: 3, full: 1}, given: 3, put: 1,
			after: state{main: 4, spare: 4, full: 1}, counted: events{BarnPutFail: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(tt.before)
			objs := r.take(tt.given)
			if put := r.FreeBulk(objs, 0); put != tt.put {
				t.Errorf("took %d objects, want %d", put, tt.put)
			}
			r.gone(objs[:tt.put]...)
			r.expect(tt.after, tt.counted)
		})
	}
}

// TestBulkRefusals: stacks that are held, closed or of another node take and give nothing.
func TestBulkRefusals(t *testing.T) {
	r := newRig(t, 2)
	r.arrange(state{main: 2, spare: 4, full: 1, empty: 1})
	refused := func(why string) {
		t.Helper()
		if got := r.AllocBulk(make([]unsafe.Pointer, 3)); got != 0 {
			t.Errorf("%s: got %d objects", why, got)
		}
		if put := r.FreeBulk(r.take(3), 0); put != 0 {
			t.Errorf("%s: took %d objects", why, put)
		}
	}
	st := r.hold(percpu.Main)
	refused("held")
	st.Unlock()
	if put := r.FreeBulk(r.take(3), 1); put != 0 {
		t.Errorf("took %d objects of another owner", put)
	}
	r.expect(state{main: 2, spare: 4, full: 1, empty: 1}, nil)
	r.Close()
	refused("closed")
}

// TestBulkTakesOwnReadySheaf: an AllocBulk that finds no other objects gets those that its CPU has
// given to FreeRCU, although another CPU's grace period was the last to end.
func TestBulkTakesOwnReadySheaf(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 0, spare: none})
	var freed [2][]unsafe.Pointer
	for i := range freed {
		freed[i] = r.take(r.Capacity())
		for _, p := range freed[i] {
			if !r.TryFreeRCU(p, 0, MayWait) {
				t.Fatal("refused")
			}
		}
		r.gone(freed[i]...)
	}
	r.domain.Synchronize(t.Context())
	b := &r.barns[0]
	b.park(b.takeYoungest(r.domain), r.cpu+1) // as if that CPU had freed these
	for i := range freed {
		got := make([]unsafe.Pointer, r.Capacity())
		if n := r.AllocBulk(got); n != len(got) {
			t.Fatalf("got %d objects", n)
		}
		r.got(got...)
		for _, p := range got {
			if !slices.Contains(freed[i], p) {
				t.Errorf("number %d: got %v, want one of %v", i, p, freed[i])
			}
		}
	}
}
