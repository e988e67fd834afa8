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

// TestSectionIsWaitedFor: grace periods that are started while a section is open wait for it,
// whichever index it is counted under. Others don't.
func TestSectionIsWaitedFor(t *testing.T) {
	for _, flips := range []int{0, 1, 2, 3} {
		var d Domain
		before := d.Start()
		s := d.Enter()
		for range flips { // as if other goroutines had driven grace periods since Enter
			d.sections.Load().counts.Flip()
		}
		token := d.Start()
		if !d.Poll(before) {
			t.Error("a grace period that was started before the section waits for it")
		}
		for range 3 {
			if d.Poll(token) || d.PollNoAdvance(token) {
				t.Fatalf("after %d flips: over, with an open section", flips)
			}
		}
		later := d.Enter() // the first grace period may wait for this one, too
		second := d.Start()
		s.Exit()
		if flips%2 == 0 && !d.Poll(token) {
			t.Errorf("after %d flips: not over, though the section has ended", flips)
		}
		if d.PollNoAdvance(second) {
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

// TestOverlappingSectionsLetGracePeriodsEnd: a section is open at every moment, but none for ever.
func TestOverlappingSectionsLetGracePeriodsEnd(t *testing.T) {
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

// TestBothKindsOfReader: a grace period waits for a registered reader as well as for a section.
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
	if r.store(d.seq.load()); d.Poll(token) { // as Quiescent, which asserts
		t.Error("over without the section's end")
	}
	s.Exit()
	if !d.Poll(token) {
		t.Error("not over")
	}
}

// TestOneGoroutineDrives: while one goroutine moves a grace period on, no other does.
func TestOneGoroutineDrives(t *testing.T) {
	var d Domain
	d.Enter().Exit()
	token := d.Start()
	d.sections.Load().driving.Store(true)
	if d.Poll(token) {
		t.Error("two goroutines move a grace period on at once")
	}
	d.sections.Load().driving.Store(false)
	if !d.Poll(token) {
		t.Error("no goroutine moves it on")
	}
}

// TestPollNoAdvance: it leaves the system call of a grace period to other callers.
func TestPollNoAdvance(t *testing.T) {
	var d Domain
	d.Enter().Exit()
	token := d.Start()
	if d.PollNoAdvance(token) {
		t.Error("PollNoAdvance has moved the grace period on")
	}
	d.Advance()
	if !d.PollNoAdvance(token) {
		t.Error("Advance hasn't")
	}
}

// TestFirstEnter: the first sections of a domain hold up no grace period that was started before,
// and every one that is started while they are open.
func TestFirstEnter(t *testing.T) {
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
			t.Fatal("a section holds up a grace period that was started before it")
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

// TestMembarrierRefused: when the kernel begins to refuse the memory barrier, grace periods still
// end, and not before the sections that were open at their start. The refusal is reported once.
func TestMembarrierRefused(t *testing.T) {
	var d, quiet Domain
	reported := make(chan Stall, 2)
	d.OnStall(time.Hour, func(s Stall) { reported <- s })
	quiet.OnStall(-1, func(s Stall) { reported <- s })
	defer sys.FailNth(sys.CallMembarrier, 0, syscall.EPERM)()
	for _, domain := range []*Domain{&quiet, &d} {
		domain.Enter().Exit()
		counts := domain.sections.Load().counts
		if !counts.Fenced() {
			t.Skip("Enter needs no fence here")
		}
		if _, refused := counts.Fence(); !errors.Is(refused, syscall.EPERM) {
			t.Fatalf("the kernel refuses the barrier, and Fence says %v", refused)
		}
		for range 3 {
			section := domain.Enter()
			token := domain.Start()
			if domain.Poll(token) {
				t.Error("over, with an open section")
			}
			section.Exit()
			if err := domain.Wait(t.Context(), token); err != nil {
				t.Error(err)
			}
		}
	}
	s := <-reported
	if !errors.Is(s.Membarrier, syscall.EPERM) || !strings.Contains(s.String(), "membarrier(PRIVATE_EXPEDITED): operation not permitted") {
		t.Errorf("reported %q for %v", s, s.Membarrier)
	}
	if n := d.Stats().Stalls + quiet.Stats().Stalls; n != 1 || len(reported) > 0 {
		t.Errorf("counted %d reports, %d more arrived", n, len(reported))
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

// TestReportsInsideSections: in builds with invariants a reader must not say that it holds no
// references while its goroutine is between Enter and Exit. Another goroutine's section doesn't
// matter.
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
	entered, resume := make(chan struct{}), make(chan struct{})
	wg.Go(func() { defer d.Enter().Exit(); close(entered); <-resume })
	<-entered
	r.Quiescent()
	close(resume)
	wg.Wait()
}

// TestReadersMustNotWait: in builds with invariants a reader that would wait for itself gets an
// error.
func TestReadersMustNotWait(t *testing.T) {
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
