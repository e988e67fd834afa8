package rcu

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// TestSectionIsWaitedFor: by the grace periods that begin while it is open, whichever
// index it is counted under, and by no others.
func TestSectionIsWaitedFor(t *testing.T) {
	for _, flips := range []int{0, 1, 2, 3} {
		var d Domain
		before := d.Start()
		s := d.Enter()
		for range flips { // between this goroutine's Enter and what follows
			d.sections.Load().counts.Flip()
		}
		token := d.Start()
		if !d.Poll(before) {
			t.Error("a section is waited for by a grace period that had begun before")
		}
		for range 3 {
			if d.Poll(token) || d.Elapsed(token) {
				t.Fatalf("after %d flips: over, with an open section", flips)
			}
		}
		later := d.Enter() // may be waited for in place of the other, by luck
		second := d.Start()
		s.Exit()
		if flips%2 == 0 && !d.Poll(token) {
			t.Errorf("after %d flips: not over, though the section has ended", flips)
		}
		if d.Elapsed(second) {
			t.Error("the first grace period's end is taken for the second's")
		}
		if d.Poll(d.Start()) {
			t.Error("the second section isn't waited for")
		}
		later.Exit()
		if !d.Poll(d.Start()) {
			t.Error("not over, without a section")
		}
	}
}

// TestOverlappingSectionsStarveNobody: there is a section at every moment, but none is
// there for ever.
func TestOverlappingSectionsStarveNobody(t *testing.T) {
	var d Domain
	s := d.Enter()
	for range 20 {
		token := d.Start()
		for left := 4; !d.Poll(token); left-- {
			if left == 0 {
				t.Fatal("all sections that were open at Start have ended, but the grace period hasn't")
			}
			next := d.Enter()
			s.Exit()
			s = next
		}
	}
	s.Exit()
}

// TestBothKindsOfReader: a grace period waits for a registered reader as well as for a
// section.
func TestBothKindsOfReader(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	s := d.Enter()
	token := d.Start()
	s.Exit()
	if d.Poll(token) {
		t.Error("over without the reader's report")
	}
	r.Offline()
	if !d.Poll(token) {
		t.Error("not over")
	}
	s = d.Enter()
	r.Online()
	token = d.Start()
	if r.word.Store(uint64(d.seq.load())); d.Poll(token) { // Quiescent, if there were no section
		t.Error("over without the section's end")
	}
	s.Exit()
	if !d.Poll(token) {
		t.Error("not over")
	}
}

// TestOneDrives: while somebody moves a grace period on, nobody else does.
func TestOneDrives(t *testing.T) {
	var d Domain
	d.Enter().Exit()
	token := d.Start()
	d.sections.Load().driving.Store(true)
	if d.Poll(token) {
		t.Error("two move a grace period on at once")
	}
	d.sections.Load().driving.Store(false)
	if !d.Poll(token) {
		t.Error("nobody moves it on")
	}
}

// TestElapsedOnlyLooks: under a lock nobody must make a system call, so that somebody else
// has to.
func TestElapsedOnlyLooks(t *testing.T) {
	var d Domain
	d.Enter().Exit()
	token := d.Start()
	if d.Elapsed(token) {
		t.Error("Elapsed has moved the grace period on")
	}
	d.Advance()
	if !d.Elapsed(token) {
		t.Error("Advance hasn't")
	}
}

// TestSectionsStartWithoutHistory: the first Enter has nothing to do with grace periods that
// were started before, and holds up those after.
func TestSectionsStartWithoutHistory(t *testing.T) {
	for range testutil.Stress(t, 20_000) / 20 {
		var d Domain
		var wg sync.WaitGroup
		var open [4]Section
		token := d.Start()
		for i := range open {
			wg.Go(func() { open[i] = d.Enter() })
		}
		wg.Wait()
		if !d.Poll(token) {
			t.Fatal("a section holds up a grace period from before it")
		}
		if token = d.Start(); d.Poll(token) {
			t.Fatal("over, with four open sections")
		}
		for i := range open {
			open[i].Exit()
		}
		if s := d.Stats(); !d.Poll(token) || s.Entered != 4 || s.Open != 0 {
			t.Fatalf("not over: %+v", s)
		}
	}
}

// TestMembarrierRefused: when the kernel begins to refuse the memory barrier, grace periods
// end all the same, and not before the sections of before. It is told once.
func TestMembarrierRefused(t *testing.T) {
	var d, quiet Domain
	told := make(chan Stall, 2)
	d.OnStall(time.Hour, func(s Stall) { told <- s })
	quiet.OnStall(-1, func(s Stall) { told <- s })
	defer sys.FailNth(sys.CallMembarrier, 0, syscall.EPERM)()
	for _, domain := range []*Domain{&quiet, &d} {
		domain.Enter().Exit()
		if _, refused := domain.sections.Load().counts.Fence(); refused == nil {
			t.Skip("Enter needs no fence here")
		}
		for range 3 {
			section := domain.Enter()
			token := domain.Start()
			if domain.Poll(token) {
				t.Error("over before a section of before")
			}
			section.Exit()
			if err := domain.Wait(t.Context(), token); err != nil {
				t.Error(err)
			}
		}
	}
	s := <-told
	if !errors.Is(s.Membarrier, syscall.EPERM) || !strings.Contains(s.String(), "membarrier(PRIVATE_EXPEDITED): operation not permitted") {
		t.Errorf("told %q of %v", s, s.Membarrier)
	}
	if n := d.Stats().Stalls + quiet.Stats().Stalls; n != 1 || len(told) > 0 {
		t.Errorf("counted %d, %d more told", n, len(told))
	}
}

func TestUnbalancedExit(t *testing.T) {
	wantPanic(t, "zero Section", Section{}.Exit)
	var d Domain
	s := d.Enter()
	s.Exit()
	if invariants.Enabled {
		wantPanic(t, "that has been exited", s.Exit)
		return
	}
	s.Exit()
	wantPanic(t, "more Exits than Enters", func() { d.Poll(d.Start()) })
}

// TestReportsInsideSections: in builds with invariants a reader must not say that it holds
// nothing while its goroutine is between Enter and Exit; another goroutine's section is none
// of its business.
func TestReportsInsideSections(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	var d Domain
	r := d.Register("reader")
	s := d.Enter()
	for name, method := range map[string]func(){"Quiescent": r.Quiescent, "Offline": r.Offline, "Close": func() { r.Close() }} {
		wantPanic(t, name+" between Enter and Exit", method)
	}
	var wg sync.WaitGroup
	wg.Go(s.Exit)
	wg.Wait()
	entered, leave := make(chan struct{}), make(chan struct{})
	wg.Go(func() { defer d.Enter().Exit(); close(entered); <-leave })
	<-entered
	r.Quiescent()
	close(leave)
	wg.Wait()
}

// TestWaitersAreNoReaders: who waits for himself is told so, in builds with invariants.
func TestWaitersAreNoReaders(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	var d Domain
	d.Defer(func() {})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	waits := map[string]func() error{
		"Synchronize":          func() error { return d.Synchronize(ctx) },
		"SynchronizeExpedited": func() error { return d.SynchronizeExpedited(ctx) },
		"Wait":                 func() error { return d.Wait(ctx, d.Start()) },
		"Barrier":              func() error { return d.Barrier(ctx) },
	}
	refused := func(how string) {
		t.Helper()
		for name, wait := range waits {
			if err := wait(); !errors.Is(err, ErrInReader) || !strings.Contains(err.Error(), how) {
				t.Errorf("%s: %v, want one about %q", name, err, how)
			}
		}
	}
	s := d.Enter()
	refused("between Enter and Exit")
	s.Exit()
	r := d.Register("online")
	r.Lock()
	refused(`reader "online"`)
	r.Unlock()
	r.Offline()
	for name, wait := range waits {
		if err := wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
