package sheaves

import (
	"errors"
	"math"
	"slices"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
)

// borrow prefills and sees to it that the loan holds enough.
func (r *rig) borrow(n int) Loan {
	r.t.Helper()
	l, err := r.Prefill(n)
	if err != nil {
		r.t.Fatal(err)
	}
	if l.Size() < n || len(l.Room()) < n {
		r.t.Errorf("%d objects in a sheaf for %d, want %d", l.Size(), len(l.Room()), n)
	}
	return l
}

// use takes n objects from a loan.
func (r *rig) use(l Loan, n int) {
	r.t.Helper()
	size := l.Size() - n
	r.got(l.Room()[size:l.Size()]...)
	l.SetSize(size)
}

// TestPrefill: where the sheaf comes from (kernel: kmem_cache_prefill_sheaf).
func TestPrefill(t *testing.T) {
	for name, tt := range map[string]struct {
		before  state
		n       int
		after   state
		counted events
	}{
		"full spare":         {state{2, 4, 1, 1}, 3, state{2, none, 1, 1}, events{PrefillFast: 1}},
		"spare holds enough": {state{2, 2, 1, 1}, 2, state{2, none, 1, 1}, events{PrefillFast: 1}},
		"spare holds less":   {state{2, 1, 1, 1}, 2, state{2, none, 1, 1}, events{PrefillFast: 1, Refilled: 3}},
		"empty spare":        {state{2, 0, 1, 1}, 1, state{2, none, 1, 1}, events{PrefillFast: 1, Refilled: 4}},
		"barn's full":        {state{2, none, 1, 1}, 4, state{2, none, 0, 1}, events{PrefillSlow: 1, BarnGet: 1}},
		"barn's empty":       {state{2, none, 0, 2}, 1, state{2, none, 0, 1}, events{PrefillSlow: 1, BarnGetFail: 1, Refilled: 4}},
		"a new one":          {state{2, none, 0, 0}, 1, state{2, none, 0, 0}, events{PrefillSlow: 1, BarnGetFail: 1, Refilled: 4, SheafAlloc: 1}},
		"oversize":           {state{2, 4, 1, 1}, 9, state{2, 4, 1, 1}, events{PrefillOversize: 1, Refilled: 9, SheafAlloc: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(tt.before)
			l := r.borrow(tt.n)
			r.expect(tt.after, tt.counted)
			r.use(l, tt.n)
			r.Return(l)
		})
	}
}

// TestPrefillHeld: the spare is not waited for.
func TestPrefillHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{2, 4, 1, 0})
	st := r.hold(percpu.Main)
	l := r.borrow(4)
	st.Unlock()
	r.expect(state{2, 4, 0, 0}, events{PrefillSlow: 1, BarnGet: 1})
	r.Return(l)
}

// TestPrefillShort: short of memory a prefill makes do with enough, or fails and
// leaves nothing behind.
func TestPrefillShort(t *testing.T) {
	for name, tt := range map[string]struct {
		n, short int
		err      error
		prepare  func(*rig)
		counted  events
	}{
		"enough":               {3, 1, nil, nil, events{PrefillFast: 1, Refilled: 3}},
		"too few":              {4, 1, ErrShort, nil, events{PrefillFast: 1, Refilled: 3, Flushed: 3, SheafFree: 1}},
		"oversize, too few":    {9, 1, ErrShort, nil, events{PrefillOversize: 1, Refilled: 8, Flushed: 8, SheafAlloc: 1, SheafFree: 1}},
		"beyond all measure":   {math.MaxInt, 0, ErrShort, nil, events{PrefillOversize: 1}},
		"oversize, no memory":  {9, 0, syscall.ENOMEM, (*rig).outOfMemory, events{PrefillOversize: 1}},
		"no memory for sheaf":  {1, 0, syscall.ENOMEM, func(r *rig) { r.setSpare(none); r.outOfMemory() }, events{PrefillSlow: 1, BarnGetFail: 1}},
		"the set is closed":    {1, 0, errClosed, func(r *rig) { r.Close(); r.start = r.Stats().Events }, events{PrefillSlow: 1, BarnGetFail: 1}},
		"32 bits of objects":   {1 << 32, 0, ErrShort, nil, events{PrefillOversize: 1}},
		"more than 64 bits":    {1<<61 + 1, 0, ErrShort, nil, events{PrefillOversize: 1}},
		"exactly the capacity": {4, 0, nil, nil, events{PrefillFast: 1, Refilled: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(state{2, 0, 0, 0})
			if tt.prepare != nil {
				tt.prepare(r)
			}
			r.src.short = tt.short
			l, err := r.Prefill(tt.n)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			r.expectEvents(tt.counted)
			if n := r.Stats().Loans; n == 1 != (err == nil) {
				t.Errorf("%d sheaves count as lent", n)
			}
			if err == nil {
				r.Return(l)
			}
		})
	}
}

// TestRefill: in place, by a larger sheaf, or not at all.
func TestRefill(t *testing.T) {
	for name, tt := range map[string]struct {
		used, n, short int
		size, room     int
		err            error
		counted        events
	}{
		"enough left":       {1, 3, 0, 3, 4, nil, nil},
		"in place":          {3, 4, 0, 4, 4, nil, events{Refilled: 3}},
		"in place, just so": {3, 2, 2, 2, 4, nil, events{Refilled: 1}},
		"in place, short":   {3, 4, 1, 1, 4, ErrShort, events{Refilled: 2, Flushed: 2}},
		"larger": {2, 9, 0, 9, 9, nil, events{PrefillOversize: 1, Refilled: 9, SheafAlloc: 1,
			ReturnFast: 1}},
		"larger, short": {2, 9, 1, 2, 4, ErrShort, events{PrefillOversize: 1, Refilled: 8, Flushed: 8, SheafAlloc: 1,
			SheafFree: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(state{0, 4, 0, 0})
			l := r.borrow(4)
			r.use(l, tt.used)
			left := slices.Clone(l.Room()[:l.Size()])
			r.src.short = tt.short
			r.start = r.Stats().Events
			now, err := r.Refill(l, tt.n)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			if now.Size() != tt.size || len(now.Room()) != tt.room {
				t.Errorf("%d objects in %d, want %d in %d", now.Size(), len(now.Room()), tt.size, tt.room)
			}
			if tt.room == 4 && !slices.Equal(now.Room()[:len(left)], left) {
				t.Error("the objects that were left are gone")
			}
			r.expectEvents(tt.counted)
			r.Return(now)
		})
	}
}

// TestReturn: to the spare, to the barn filled up, or to the source.
func TestReturn(t *testing.T) {
	for name, tt := range map[string]struct {
		before      state
		used, short int
		prepare     func(*rig)
		after       state
		counted     events
	}{
		"no spare":       {state{0, none, 0, 0}, 3, 0, nil, state{0, 1, 0, 0}, events{ReturnFast: 1}},
		"spare":          {state{0, 0, 1, 0}, 3, 0, nil, state{0, 0, 2, 0}, events{ReturnSlow: 1, Refilled: 3, BarnPut: 1}},
		"spare, full":    {state{0, 4, 1, 0}, 0, 0, nil, state{0, 4, 2, 0}, events{ReturnSlow: 1, BarnPut: 1}},
		"too many":       {state{0, 0, 2, 0}, 3, 0, nil, state{0, 0, 2, 0}, events{ReturnSlow: 1, Flushed: 1, SheafFree: 1}},
		"short refill":   {state{0, 0, 0, 0}, 3, 1, nil, state{0, 0, 0, 0}, events{ReturnSlow: 1, Refilled: 2, Flushed: 3, SheafFree: 1}},
		"after Close":    {state{0, 0, 0, 0}, 1, 0, (*rig).Close, state{none, none, 0, 0}, events{ReturnSlow: 1, Flushed: 3, SheafFree: 1}},
		"all used, fast": {state{0, none, 0, 0}, 4, 0, nil, state{0, 0, 0, 0}, events{ReturnFast: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(state{0, 4, 0, 0})
			l := r.borrow(4)
			r.use(l, tt.used)
			r.src.short = tt.short
			r.arrange(tt.before)
			if tt.prepare != nil {
				tt.prepare(r)
				r.start = r.Stats().Events
			}
			r.Return(l)
			r.expect(tt.after, tt.counted)
		})
	}
}

// TestReturnHeld: the spare's place is not waited for.
func TestReturnHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{0, none, 0, 0})
	l := r.borrow(1)
	r.start = r.Stats().Events
	st := r.hold(percpu.Main)
	r.Return(l)
	st.Unlock()
	r.expect(state{0, none, 1, 0}, events{ReturnSlow: 1, BarnPut: 1})
}

// TestReturnWhileClosing: Close comes between the look at closed and the barn.
func TestReturnWhileClosing(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{0, none, 0, 0})
	l := r.borrow(4)
	r.use(l, 1)
	r.setSpare(0)
	r.src.onRefill = r.Close
	r.Return(l)
	if got, want := r.state(), (state{none, none, 0, 0}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestOversizeIsUnmapped: an oversize sheaf is a mapping of its own.
func TestOversizeIsUnmapped(t *testing.T) {
	r := newRig(t, 1)
	l := r.borrow(1000)
	refused := errors.New("refused")
	defer sys.FailNth(sys.CallUnmap, 2, refused)()
	r.Return(l)
	if err := percpu.Unreserve(0, 1); !errors.Is(err, refused) {
		t.Errorf("Return has not unmapped the sheaf: %v", err)
	}
}
