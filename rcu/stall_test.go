package rcu

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slubd/slubd/internal/invariants"
)

// reportRecorder is a stall handler that keeps the reports.
type reportRecorder struct {
	mu      sync.Mutex
	reports []Stall
}

func (c *reportRecorder) report(s Stall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports = append(c.reports, s)
}

// take returns the reports since the last call.
func (c *reportRecorder) take() []Stall {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	reports := c.reports
	c.reports = nil
	return reports
}

// stuckHere is a reader that doesn't report until released.
func stuckHere(d *Domain, release chan struct{}) {
	r := d.Register("stuck")
	<-release
	r.Quiescent()
	<-release
	r.Close()
}

// TestStalledReaderIsReported: once per timeout until it reports, with the place of its Register
// and its goroutine's stack.
func TestStalledReaderIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		var c reportRecorder
		d.OnStall(time.Second, c.report)
		profiles := 0
		d.stalls.takeProfile = func(p []runtime.StackRecord) (int, bool) { profiles++; return runtime.GoroutineProfile(p) }
		release := make(chan struct{})
		go stuckHere(&d, release)
		synctest.Wait()
		waited := make(chan error)
		go func() { waited <- d.Synchronize(t.Context()) }()
		time.Sleep(900 * time.Millisecond)
		if stalls := c.take(); len(stalls) > 0 {
			t.Errorf("reported before the timeout: %v", stalls)
		}
		time.Sleep(3 * time.Second)
		stalls := c.take()
		if len(stalls) != 3 || d.Stats().Stalls != 3 {
			t.Fatalf("reported %d times in 3 s after the first: %v", len(stalls), stalls)
		}
		s := stalls[0]
		if s.Reader != "stuck" || s.Age < time.Second || s.Age > 1100*time.Millisecond ||
			!strings.Contains(s.Registered, "rcu/stall_test.go:") || !strings.Contains(s.Stack, "rcu.stuckHere(") {
			t.Errorf("reported %+v", s)
		}
		if profiles != 1 || stalls[2].Stack != s.Stack {
			t.Errorf("%d profiles of all goroutines for one stall; the last report has the stack %q", profiles, stalls[2].Stack)
		}
		for _, part := range []string{`reader "stuck"`, "rcu/stall_test.go:", "for 1", "rcu.stuckHere("} {
			if !strings.Contains(s.String(), part) {
				t.Errorf("%q is missing in %q", part, s)
			}
		}
		release <- struct{}{}
		if err := <-waited; err != nil {
			t.Error(err)
		}
		c.take()
		time.Sleep(time.Minute)
		if stalls := c.take(); len(stalls) > 0 {
			t.Errorf("reported after the reader did: %v", stalls)
		}
		release <- struct{}{}
	})
}

// TestStalledSectionsAreReported: with their number and, in builds with invariants, where they were
// entered. Poll notices stalls as well as waiters do.
func TestStalledSectionsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		var c reportRecorder
		d.OnStall(time.Second, c.report)
		a, b := d.Enter(), d.Enter()
		token := d.Start()
		look(t, &d, token)
		time.Sleep(2 * time.Second)
		look(t, &d, token)
		stalls := c.take()
		if len(stalls) != 1 || stalls[0].Sections != 2 || stalls[0].Age != 2*time.Second || stalls[0].Reader != "" {
			t.Fatalf("reported %+v", stalls)
		}
		if s := d.Stats(); s.Open != 2 || s.OldestReader != 2*time.Second || s.OldestName != "" {
			t.Errorf("%+v", s)
		}
		if text := stalls[0].String(); !strings.Contains(text, "waited for 2s for 2 open sections") ||
			strings.Count(text, "rcu/stall_test.go:") != 2 && invariants.Enabled {
			t.Error(text)
		}
		a.Exit()
		b.Exit()
		if !d.Poll(token) || d.Stats().OldestReader != 0 {
			t.Error("not over")
		}
	})
}

// TestStatsReportsNoStall: Stats tells a reader's age, and neither counts a stall, nor has it
// reported, nor changes when a poll does.
func TestStatsReportsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		var c reportRecorder
		d.OnStall(time.Second, c.report)
		exit := d.Enter().Exit
		r := d.Register("slow")
		token := d.Start()
		d.Poll(token)
		for i := range 10 {
			if s := d.Stats(); s.Stalls != 0 || s.OldestReader != time.Duration(i)*time.Second || s.OldestSection != s.OldestReader {
				t.Errorf("%d stalls, reader for %v, sections for %v", s.Stalls, s.OldestReader, s.OldestSection)
			}
			time.Sleep(time.Second)
		}
		look(t, &d, token)
		if stalls := c.take(); len(stalls) > 0 {
			t.Errorf("reported at the first look of a poll: %v", stalls)
		}
		time.Sleep(time.Second)
		look(t, &d, token)
		if stalls := c.take(); len(stalls) != 2 || stalls[0].Age != 11*time.Second || d.Stats().Stalls != 2 {
			t.Errorf("reported %v", stalls)
		}
		exit()
		r.Close()
	})
}

// look polls until one Poll looks for stalls.
func look(t *testing.T, d *Domain, token Token) {
	t.Helper()
	for range missesPerScan {
		if d.Poll(token) {
			t.Error("over, with a reader or a section in the way")
		}
	}
}

// TestReportsAreBounded: if many readers stall, all are counted and some reported.
func TestReportsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		var c reportRecorder
		d.OnStall(time.Second, c.report)
		for range 3 * maxReports {
			d.Register("one of many")
		}
		token := d.Start()
		look(t, &d, token)
		time.Sleep(time.Second)
		look(t, &d, token)
		if s := d.Stats(); s.Stalls != 3*maxReports {
			t.Errorf("%d stalls counted", s.Stalls)
		}
		look(t, &d, token)
		if stalls := c.take(); len(stalls) != maxReports {
			t.Errorf("%d stalls reported", len(stalls))
		}
		d.OnStall(-1, c.report)
		time.Sleep(time.Hour)
		if look(t, &d, token); len(c.take()) > 0 {
			t.Error("reported although switched off")
		}
	})
}

// TestStallsAreLogged: without a handler stalls are logged after the default timeout. A reader
// whose goroutine has ended has no stack.
func TestStallsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&text, nil)))
		defer slog.SetDefault(before)
		var d Domain
		go d.Register("leaked")
		synctest.Wait()
		token := d.Start()
		look(t, &d, token)
		time.Sleep(stallTimeout)
		look(t, &d, token)
		synctest.Wait()
		if !strings.Contains(text.String(), `leaked`) || !strings.Contains(text.String(), "has ended") {
			t.Errorf("logged %q", &text)
		}
	})
}

// TestSeveralCouldBeTheReaders: if several goroutines are in the function that registered a reader,
// the report says so and shows each stack once.
func TestSeveralCouldBeTheReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		var c reportRecorder
		d.OnStall(time.Second, c.report)
		release := make(chan struct{})
		for range 3 {
			go stuckHere(&d, release)
		}
		synctest.Wait()
		token := d.Start()
		look(t, &d, token)
		time.Sleep(time.Second)
		look(t, &d, token)
		stalls := c.take()
		if len(stalls) != 3 {
			t.Fatalf("reported %d times", len(stalls))
		}
		for _, s := range stalls {
			if !strings.Contains(s.Stack, "one of 3 goroutines") || strings.Count(s.Stack, "rcu.stuckHere(") != 1 {
				t.Errorf("stack %q", s.Stack)
			}
		}
		for range 6 {
			release <- struct{}{}
		}
	})
}

// TestStallTexts: times have few digits, and one section is not "sections".
func TestStallTexts(t *testing.T) {
	const age = 10_003_123_456 * time.Nanosecond
	for _, c := range []struct {
		stall Stall
		want  string
	}{
		{
			stall: Stall{Reader: "r", Age: age, Registered: "loop.go:41", Goroutine: 7},
			want:  `rcu: reader "r", registered at loop.go:41, has held up a grace period for 10s; goroutine 7 has ended, or has left the function that registered the reader`,
		},
		{
			stall: Stall{Reader: "r", Age: age, Registered: "loop.go:41", Stack: "goroutine 7 [select]:"},
			want:  "rcu: reader \"r\", registered at loop.go:41, has held up a grace period for 10s\ngoroutine 7 [select]:",
		},
		{
			stall: Stall{Age: age, Sections: 1},
			want:  "rcu: a grace period has waited for 10s for 1 open section",
		},
		{
			stall: Stall{Age: age, Sections: 2, Entered: []string{"a.go:1 by goroutine 2"}},
			want:  "rcu: a grace period has waited for 10s for 2 open sections\n\tentered at a.go:1 by goroutine 2",
		},
	} {
		if got := c.stall.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestWaitErrorTexts: the error of a waiter whose context ends says what it waited for.
func TestWaitErrorTexts(t *testing.T) {
	for want, hold := range map[string]func(*Domain) (release func()){
		`rcu: reader "late" has held up the grace period for 1.23s: `: func(d *Domain) func() {
			r := d.Register("late")
			return func() { r.Close() }
		},
		"rcu: the grace period has waited for 1.23s for 1 open section: ": func(d *Domain) func() { return d.Enter().Exit },
	} {
		synctest.Test(t, func(t *testing.T) {
			var d Domain
			released := hold(&d)
			token := d.Start()
			d.Poll(token)
			d.Stats() // notes the time
			time.Sleep(1_234_567_890)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			got := make(chan error)
			go func() { got <- d.Wait(ctx, token) }() // not on the goroutine of the reader
			if err := <-got; err.Error() != want+"context canceled" {
				t.Errorf("%q, want %q", err, want)
			}
			released()
		})
	}
}
