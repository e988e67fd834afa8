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
		"nothing":              {state{2, 4, 1, 0}, 0, 0, state{2, 4, 1, 0}, nil},
		"part of main":         {state{4, 4, 1, 0}, 3, 3, state{1, 4, 1, 0}, nil},
		"exactly main":         {state{4, 4, 1, 0}, 4, 4, state{0, 4, 1, 0}, nil},
		"main and spare":       {state{4, 2, 1, 0}, 5, 5, state{1, 0, 1, 0}, nil},
		"main, spare and barn": {state{3, 2, 2, 0}, 10, 10, state{3, 0, 0, 2}, events{BarnGet: 2}},
		"all there is":         {state{1, 4, 2, 0}, 20, 13, state{0, 0, 0, 2}, events{BarnGet: 2, BarnGetFail: 1}},
		"no spare":             {state{1, none, 1, 0}, 5, 5, state{0, none, 0, 1}, events{BarnGet: 1}},
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

// TestAllocBulkExpired: sheaves whose grace period is over count as there.
func TestAllocBulkExpired(t *testing.T) {
	r := newRig(t, 1)
	reader := r.reader()
	r.park(2)
	reader.Quiescent()
	r.park(1)
	r.arrange(state{0, none, 0, 1})
	dst := make([]unsafe.Pointer, 20)
	if got := r.AllocBulk(dst); got != 8 {
		t.Errorf("got %d objects, want those of two sheaves", got)
	}
	r.got(dst...)
	r.expect(state{0, none, 0, 3}, events{BarnGet: 2, BarnPut: 2, BarnGetFail: 3})
}

// TestFreeBulk covers 2.9: main, spare, barn, and neither new sheaves nor flushes.
func TestFreeBulk(t *testing.T) {
	for name, tt := range map[string]struct {
		before     state
		given, put int
		after      state
		counted    events
	}{
		"nothing":              {state{4, 4, 2, 1}, 0, 0, state{4, 4, 2, 1}, nil},
		"to main":              {state{1, none, 0, 0}, 3, 3, state{4, none, 0, 0}, nil},
		"main and spare":       {state{2, 0, 0, 0}, 5, 5, state{3, 4, 0, 0}, nil},
		"partly full spare":    {state{4, 3, 0, 0}, 1, 1, state{4, 4, 0, 0}, nil},
		"no spare":             {state{4, none, 0, 1}, 4, 4, state{4, 4, 0, 0}, nil},
		"no spare, no empty":   {state{3, none, 0, 0}, 4, 1, state{4, none, 0, 0}, nil},
		"main, spare and barn": {state{3, 3, 1, 1}, 6, 6, state{4, 4, 2, 0}, events{BarnPut: 1}},
		"barn has too many":    {state{4, 4, 2, 1}, 3, 0, state{4, 4, 2, 1}, events{BarnPutFail: 1}},
		"barn has no empty":    {state{4, 3, 1, 0}, 3, 1, state{4, 4, 1, 0}, events{BarnPutFail: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(tt.before)
			objs := r.take(tt.given)
			if put := r.FreeBulk(objs, own(0)); put != tt.put {
				t.Errorf("took %d objects, want %d", put, tt.put)
			}
			r.gone(objs[:tt.put]...)
			r.expect(tt.after, tt.counted)
		})
	}
}

// TestBulkRefusals: held, closed and strangers' stacks take and give nothing.
func TestBulkRefusals(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{2, 4, 1, 1})
	refused := func(why string, own uint32) {
		t.Helper()
		if got := r.AllocBulk(make([]unsafe.Pointer, 3)); own == r.Own(0) && got != 0 {
			t.Errorf("%s: got %d objects", why, got)
		}
		if put := r.FreeBulk(r.take(3), own); put != 0 {
			t.Errorf("%s: took %d objects", why, put)
		}
	}
	st := r.hold(percpu.Main)
	refused("held", own(0))
	st.Unlock()
	if put := r.FreeBulk(r.take(3), own(1)); put != 0 {
		t.Errorf("took %d objects of another owner", put)
	}
	r.expect(state{2, 4, 1, 1}, nil)
	r.Close()
	refused("closed", own(0))
}
