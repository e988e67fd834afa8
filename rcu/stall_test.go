package rcu

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slubd/slubd/internal/invariants"
)

// collector is a stall handler that notes what it is told.
type collector struct {
	mu   sync.Mutex
	told []Stall
}

func (c *collector) report(s Stall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, s)
}

// take returns what has been told since the last call.
func (c *collector) take() []Stall {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	told := c.told
	c.told = nil
	return told
}

// stuckHere is a reader that doesn't report until released.
func stuckHere(d *Domain, release chan struct{}) {
	r := d.Register("stuck")
	<-release
	r.Quiescent()
	<-release
	r.Close()
}

// TestStalledReaderIsNamed: once for every timeout, with where it was registered and what it
// does, until it reports.
func TestStalledReaderIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		var c collector
		d.OnStall(time.Second, c.report)
		release := make(chan struct{})
		go stuckHere(&d, release)
		synctest.Wait()
		waited := make(chan error)
		go func() { waited <- d.Synchronize(t.Context()) }()
		time.Sleep(900 * time.Millisecond)
		if told := c.take(); len(told) > 0 {
			t.Errorf("told before the timeout: %v", told)
		}
		time.Sleep(3 * time.Second)
		told := c.take()
		if len(told) != 3 || d.Stats().Stalls != 3 {
			t.Fatalf("told %d times in 3 s after the first: %v", len(told), told)
		}
		s := told[0]
		if s.Reader != "stuck" || s.Age < time.Second || s.Age > 1100*time.Millisecond ||
			!strings.Contains(s.Registered, "rcu/stall_test.go:") || !strings.Contains(s.Stack, "rcu.stuckHere(") {
			t.Errorf("told %+v", s)
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
		if told := c.take(); len(told) > 0 {
			t.Errorf("told after the report: %v", told)
		}
		release <- struct{}{}
	})
}

// TestStalledSectionsAreCounted: of sections only their number is known, and with invariants
// where they were entered. Poll notices as well as waiters do.
func TestStalledSectionsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		var c collector
		d.OnStall(time.Second, c.report)
		a, b := d.Enter(), d.Enter()
		token := d.Start()
		look := func() {
			for range missesPerLook {
				if d.Poll(token) {
					t.Error("over, with open sections")
				}
			}
		}
		look()
		time.Sleep(2 * time.Second)
		look()
		told := c.take()
		if len(told) != 1 || told[0].Sections != 2 || told[0].Age != 2*time.Second || told[0].Reader != "" {
			t.Fatalf("told %+v", told)
		}
		if s := d.Stats(); s.Open != 2 || s.OldestReader != 2*time.Second || s.OldestName != "" {
			t.Errorf("%+v", s)
		}
		if text := told[0].String(); !strings.Contains(text, "waited for 2s for 2 open sections") ||
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

// TestStallsAreFewAtOnce: many readers that stall are counted, and some of them named.
func TestStallsAreFewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		var c collector
		d.OnStall(time.Second, c.report)
		for range 3 * namedAtOnce {
			d.Register("one of many")
		}
		d.Start()
		d.Stats()
		time.Sleep(time.Second)
		if s := d.Stats(); s.Stalls != 3*namedAtOnce {
			t.Errorf("%d stalls counted", s.Stalls)
		}
		d.Stats()
		if told := c.take(); len(told) != namedAtOnce {
			t.Errorf("%d stalls told", len(told))
		}
		d.OnStall(-1, c.report)
		time.Sleep(time.Hour)
		if d.Stats(); len(c.take()) > 0 {
			t.Error("told although switched off")
		}
	})
}

// TestStallsAreLogged without a handler, after the default timeout; a reader whose goroutine
// has ended has no stack.
func TestStallsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&text, nil)))
		defer slog.SetDefault(before)
		var d Domain
		go d.Register("leaked")
		synctest.Wait()
		d.Start()
		d.Stats()
		time.Sleep(stallTimeout)
		d.Stats()
		synctest.Wait()
		if !strings.Contains(text.String(), `leaked`) || !strings.Contains(text.String(), "has ended") {
			t.Errorf("logged %q", &text)
		}
	})
}

// TestStallTexts: times have few digits, and one section is no sections.
func TestStallTexts(t *testing.T) {
	const age = 10_003_123_456 * time.Nanosecond
	for _, c := range []struct {
		stall Stall
		want  string
	}{
		{Stall{Reader: "r", Age: age, Registered: "loop.go:41", Goroutine: 7},
			`rcu: reader "r", registered at loop.go:41, has held up a grace period for 10s; goroutine 7 has ended`},
		{Stall{Reader: "r", Age: age, Registered: "loop.go:41", Stack: "goroutine 7 [select]:"},
			"rcu: reader \"r\", registered at loop.go:41, has held up a grace period for 10s\ngoroutine 7 [select]:"},
		{Stall{Age: age, Sections: 1}, "rcu: a grace period has waited for 10s for 1 open section"},
		{Stall{Age: age, Sections: 2, Entered: []string{"a.go:1 by goroutine 2"}},
			"rcu: a grace period has waited for 10s for 2 open sections\n\tentered at a.go:1 by goroutine 2"},
	} {
		if got := c.stall.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestGivenUpTexts: what a waiter is told when its context ends.
func TestGivenUpTexts(t *testing.T) {
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
			d.Stats() // notes since when
			time.Sleep(1_234_567_890)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			got := make(chan error)
			go func() { got <- d.Wait(ctx, token) }() // not whom a checked build takes for the reader
			if err := <-got; err.Error() != want+"context canceled" {
				t.Errorf("%q, want %q", err, want)
			}
			released()
		})
	}
}
