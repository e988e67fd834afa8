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

// borrow prefills and checks that the loan holds enough.
func (r *rig) borrow(n int) Loan {
	r.t.Helper()
	l, err := r.Prefill(n)
	if err != nil {
		r.t.Fatal(err)
	}
	if l.Size() < n || len(l.Slots()) < n {
		r.t.Errorf("%d objects in a sheaf for %d, want %d", l.Size(), len(l.Slots()), n)
	}
	return l
}

// use takes n objects from a loan.
func (r *rig) use(l Loan, n int) {
	r.t.Helper()
	size := l.Size() - n
	r.got(l.Slots()[size:l.Size()]...)
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
		"full spare": {before: state{main: 2, spare: 4, full: 1, empty: 1}, n: 3,
			after: state{main: 2, spare: none, full: 1, empty: 1}, counted: events{SheafPrefillFast: 1}},
		"spare holds enough": {before: state{main: 2, spare: 2, full: 1, empty: 1}, n: 2,
			after: state{main: 2, spare: none, full: 1, empty: 1}, counted: events{SheafPrefillFast: 1}},
		"spare holds less": {before: state{main: 2, spare: 1, full: 1, empty: 1}, n: 2,
			after:   state{main: 2, spare: none, full: 1, empty: 1},
			counted: events{SheafPrefillFast: 1, SheafRefill: 3}},
		"empty spare": {before: state{main: 2, spare: 0, full: 1, empty: 1}, n: 1,
			after:   state{main: 2, spare: none, full: 1, empty: 1},
			counted: events{SheafPrefillFast: 1, SheafRefill: 4}},
		"barn's full": {before: state{main: 2, spare: none, full: 1, empty: 1}, n: 4,
			after: state{main: 2, spare: none, empty: 1}, counted: events{SheafPrefillSlow: 1, BarnGet: 1}},
		"barn's empty": {before: state{main: 2, spare: none, empty: 2}, n: 1,
			after:   state{main: 2, spare: none, empty: 1},
			counted: events{SheafPrefillSlow: 1, BarnGetFail: 1, SheafRefill: 4}},
		"a new one": {before: state{main: 2, spare: none}, n: 1,
			after:   state{main: 2, spare: none},
			counted: events{SheafPrefillSlow: 1, BarnGetFail: 1, SheafRefill: 4, SheafAlloc: 1}},
		"oversize": {before: state{main: 2, spare: 4, full: 1, empty: 1}, n: 9,
			after:   state{main: 2, spare: 4, full: 1, empty: 1},
			counted: events{SheafPrefillOversize: 1, SheafRefill: 9, SheafAlloc: 1}},
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

// TestPrefillHeld: the stack's lock is not waited for.
func TestPrefillHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 2, spare: 4, full: 1})
	st := r.hold(percpu.Main)
	l := r.borrow(4)
	st.Unlock()
	r.expect(state{main: 2, spare: 4}, events{SheafPrefillSlow: 1, BarnGet: 1})
	r.Return(l)
}

// TestPrefillShort: when memory is short, a prefill takes what is enough, or fails and loses
// nothing.
func TestPrefillShort(t *testing.T) {
	for name, tt := range map[string]struct {
		n, short int
		err      error
		prepare  func(*rig)
		counted  events
	}{
		"enough": {n: 3, short: 1, counted: events{SheafPrefillFast: 1, SheafRefill: 3}},
		"too few": {n: 4, short: 1, err: ErrShort,
			counted: events{SheafPrefillFast: 1, SheafRefill: 3, SheafFlush: 3, SheafFree: 1}},
		"oversize, too few": {n: 9, short: 1, err: ErrShort,
			counted: events{SheafPrefillOversize: 1, SheafRefill: 8, SheafFlush: 8, SheafAlloc: 1, SheafFree: 1}},
		"the most an int holds": {n: math.MaxInt, err: ErrShort, counted: events{SheafPrefillOversize: 1}},
		"oversize, no memory": {n: 9, err: syscall.ENOMEM, prepare: (*rig).outOfMemory,
			counted: events{SheafPrefillOversize: 1}},
		"no memory for sheaf": {n: 1, err: syscall.ENOMEM, prepare: func(r *rig) { r.setSpare(none); r.outOfMemory() },
			counted: events{SheafPrefillSlow: 1, BarnGetFail: 1}},
		"the set is closed": {n: 1, err: ErrClosed, prepare: func(r *rig) { r.Close(); r.start = r.Stats().Events },
			counted: events{SheafPrefillSlow: 1, BarnGetFail: 1}},
		"32 bits of objects":   {n: 1 << 32, err: ErrShort, counted: events{SheafPrefillOversize: 1}},
		"more than 64 bits":    {n: 1<<61 + 1, err: ErrShort, counted: events{SheafPrefillOversize: 1}},
		"exactly the capacity": {n: 4, counted: events{SheafPrefillFast: 1, SheafRefill: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(state{main: 2, spare: 0})
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
		"enough left":       {used: 1, n: 3, size: 3, room: 4},
		"in place":          {used: 3, n: 4, size: 4, room: 4, counted: events{SheafRefill: 3}},
		"in place, just so": {used: 3, n: 2, short: 2, size: 2, room: 4, counted: events{SheafRefill: 1}},
		"in place, short": {used: 3, n: 4, short: 1, size: 1, room: 4, err: ErrShort,
			counted: events{SheafRefill: 2, SheafFlush: 2}},
		"larger": {used: 2, n: 9, size: 9, room: 9,
			counted: events{SheafPrefillOversize: 1, SheafRefill: 9, SheafAlloc: 1,
				SheafReturnFast: 1}},
		"larger, short": {used: 2, n: 9, short: 1, size: 2, room: 4, err: ErrShort,
			counted: events{SheafPrefillOversize: 1, SheafRefill: 8, SheafFlush: 8, SheafAlloc: 1,
				SheafFree: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(state{main: 0, spare: 4})
			l := r.borrow(4)
			r.use(l, tt.used)
			left := slices.Clone(l.Slots()[:l.Size()])
			r.src.short = tt.short
			r.start = r.Stats().Events
			now, err := r.Refill(l, tt.n)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			if now.Size() != tt.size || len(now.Slots()) != tt.room {
				t.Errorf("%d objects in %d, want %d in %d", now.Size(), len(now.Slots()), tt.size, tt.room)
			}
			if tt.room == 4 && !slices.Equal(now.Slots()[:len(left)], left) {
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
		"no spare": {before: state{main: 0, spare: none}, used: 3,
			after: state{main: 0, spare: 1}, counted: events{SheafReturnFast: 1}},
		"spare": {before: state{main: 0, spare: 0, full: 1}, used: 3,
			after:   state{main: 0, spare: 0, full: 2},
			counted: events{SheafReturnSlow: 1, SheafRefill: 3, BarnPut: 1}},
		"spare, full": {before: state{main: 0, spare: 4, full: 1},
			after: state{main: 0, spare: 4, full: 2}, counted: events{SheafReturnSlow: 1, BarnPut: 1}},
		"too many": {before: state{main: 0, spare: 0, full: 2}, used: 3,
			after:   state{main: 0, spare: 0, full: 2},
			counted: events{SheafReturnSlow: 1, SheafFlush: 1, SheafFree: 1}},
		"short refill": {before: state{main: 0, spare: 0}, used: 3, short: 1,
			after:   state{main: 0, spare: 0},
			counted: events{SheafReturnSlow: 1, SheafRefill: 2, SheafFlush: 3, SheafFree: 1}},
		"after Close": {before: state{main: 0, spare: 0}, used: 1, prepare: (*rig).Close,
			after:   state{main: none, spare: none},
			counted: events{SheafReturnSlow: 1, SheafFlush: 3, SheafFree: 1}},
		"all used, fast": {before: state{main: 0, spare: none}, used: 4,
			after: state{main: 0, spare: 0}, counted: events{SheafReturnFast: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(state{main: 0, spare: 4})
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

// TestReturnHeld: the stack's lock is not waited for.
func TestReturnHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 0, spare: none})
	l := r.borrow(1)
	r.start = r.Stats().Events
	st := r.hold(percpu.Main)
	r.Return(l)
	st.Unlock()
	r.expect(state{main: 0, spare: none, full: 1}, events{SheafReturnSlow: 1, BarnPut: 1})
}

// TestReturnWhileClosing: Close comes after Return has looked at closed, and before it puts the
// sheaf into the barn.
func TestReturnWhileClosing(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 0, spare: none})
	l := r.borrow(4)
	r.use(l, 1)
	r.setSpare(0)
	r.src.onRefill = r.Close
	r.Return(l)
	if got, want := r.state(), (state{main: none, spare: none}); got != want {
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

// TestOversizeIsFreedAsSuch: A prefilled sheaf that was larger than the cache's went through the
// kernel's routine for regular ones: it was counted wrong, and kept where its size misleads. The
// two must not be told apart by their size, which SetCapacity can make the same.
func TestOversizeIsFreedAsSuch(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 2, spare: none})
	oversize, regular := r.borrow(9), r.borrow(3)
	r.resize(9)
	before := r.Stats().Events
	r.Return(oversize)
	r.Return(regular)
	if st := r.state(); st.spare != none || st.full+st.empty > 0 {
		t.Errorf("kept: %+v", st)
	}
	after := r.Stats().Events
	if after[SheafFree]-before[SheafFree] != 2 || after[SheafReturnSlow]-before[SheafReturnSlow] != 1 || after[SheafReturnFast] != before[SheafReturnFast] {
		t.Errorf("%d freed, %d slow returns, %d fast ones", after[SheafFree]-before[SheafFree],
			after[SheafReturnSlow]-before[SheafReturnSlow], after[SheafReturnFast]-before[SheafReturnFast])
	}
	if p := r.pool.of[9]; p.made != percpu.NumCPU() {
		t.Errorf("the pool counts %d sheaves, %d CPUs have one", p.made, percpu.NumCPU())
	}
}
