//go:build invariants || race

package rcu

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slubd/slubd/internal/testutil"
)

// onAnother returns what f panics with on another goroutine, "" if it returns.
func onAnother(f func()) string {
	done := make(chan string)
	go func() { done <- panicText(f) }()
	return <-done
}

// A goroutine that calls any method of a reader that another one has online is found, with both
// places, in a section as well as outside. Where the reader is handed on offline, it is not.
func TestReaderOfAnotherGoroutine(t *testing.T) {
	idle := func() bool { return false }
	for name, method := range map[string]func(*Reader){
		"Quiescent": (*Reader).Quiescent, "Offline": (*Reader).Offline, "Online": (*Reader).Online,
		"Lock": (*Reader).Lock, "Unlock": (*Reader).Unlock, "Enter": (*Reader).Enter, "Exit": (*Reader).Exit,
		"Close":    func(r *Reader) { _ = r.Close() },
		"Loop":     func(r *Reader) { r.Loop(idle, idle) },
		"Blocking": func(r *Reader) { r.Blocking(func() {}) },
	} {
		t.Run(name, func(t *testing.T) {
			var d Domain
			r := d.Register("reader")
			reports := func(when string) {
				t.Helper()
				d.Start()
				text := onAnother(func() { method(r) })
				for _, want := range []string{`reader "reader": `, " by goroutine ", "while it is online on goroutine", "hand a reader on offline"} {
					if !strings.Contains(text, want) || strings.Count(text, "reader_owner_test.go:") != 2 {
						t.Errorf("%s: panic %q, want %q and two places", when, text, want)
					}
				}
			}
			r.Quiescent()
			reports("online")
			r.Lock()
			reports("inside Lock")
			r.Unlock()
			r.Offline()
			r.Enter()
			reports("between Enter and Exit")
			r.Exit()
			if text := onAnother(func() { r.Online(); r.Quiescent(); r.Offline() }); text != "" {
				t.Errorf("handed on offline: %s", text)
			}
			_ = r.Close() // always nil
		})
	}
}

// The reader of a goroutine that has ended may be used by another one. A goroutine that has told
// others that it is done, and has some instructions to go, counts as ended.
func TestReaderOfEndedGoroutine(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	done := make(chan bool)
	go func() {
		r.Quiescent()
		before := stops()
		close(done)
		for stops() == before { // until the other goroutine has looked for this one
			runtime.Gosched()
		}
	}()
	<-done
	if text := panicText(func() { r.Quiescent(); _ = r.Close() }); text != "" {
		t.Error(text)
	}
}

// TestReaderInPull: an iterator of iter.Pull, which has a goroutine of its own, uses the reader and
// the section of its caller, and the caller those of the iterator.
func TestReaderInPull(t *testing.T) {
	var d Domain
	var p Pointer[int]
	r := d.Register("reader")
	read := func(yield func(int) bool) {
		for i := range 3 {
			d.AssertReading()
			r.Quiescent()
			p.Load()
			yield(i)
		}
	}
	pull := func() {
		next, stop := iter.Pull(read)
		defer stop()
		for range 2 {
			next()
			d.AssertReading()
			p.Load()
			r.Quiescent()
		}
	}
	if text := panicText(func() { r.Quiescent(); pull(); r.Quiescent(); r.Offline() }); text != "" {
		t.Errorf("with a reader: %s", text)
	}
	s := d.Enter()
	next, stop := iter.Pull(func(yield func(int) bool) { d.AssertReading(); p.Load(); yield(0) })
	if text := panicText(func() { next() }); text != "" {
		t.Errorf("in a section: %s", text)
	}
	stop()
	s.Exit()
	_ = r.Close() // always nil
}

// TestExitInsideLock: an Exit that would make the reader offline inside of Lock panics. One that
// leaves it online does not.
func TestExitInsideLock(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	r.Lock()
	r.Enter()
	r.Exit()
	r.Unlock()
	r.Offline()
	r.Enter()
	r.Enter()
	r.Lock()
	r.Exit()
	wantPanic(t, "Exit inside Lock", r.Exit)
	r.Unlock()
	r.Exit()
	_ = r.Close() // always nil
}

// TestRoundsEndOnline: a round of Loop that leaves the reader offline or in a section panics.
func TestRoundsEndOnline(t *testing.T) {
	for want, round := range map[string]func(*Reader){
		"while offline": (*Reader).Offline, "inside Lock": (*Reader).Lock, "between Enter and Exit": (*Reader).Enter,
	} {
		var d Domain
		r := d.Register("reader")
		rounds := 0
		wantPanic(t, "another round of Loop "+want, func() {
			r.Loop(func() bool { rounds++; round(r); return rounds < 3 }, func() bool { return false })
		})
	}
}

// TestRunEndsOutside: work that returns in a section panics.
func TestRunEndsOutside(t *testing.T) {
	var d Domain
	wantPanic(t, "Close inside Lock", func() { d.Run("worker", (*Reader).Lock) })
	wantPanic(t, "Close between Enter and Exit", func() { d.Run("worker", (*Reader).Enter) })
	if n := d.Stats().Readers; n != 0 {
		t.Errorf("%d readers are left", n)
	}
}

// TestRunLeavesSectionsOpen: a Section that is open when the work of Run ends is none of the
// reader's. The caller of Run may have entered it, or another goroutine may exit it.
func TestRunLeavesSectionsOpen(t *testing.T) {
	var d Domain
	around := d.Enter()
	d.Run("worker", func(*Reader) {})
	around.Exit()
	var left Section
	d.Run("worker", func(*Reader) { left = d.Enter() })
	if text := onAnother(left.Exit); text != "" {
		t.Error(text)
	}
}

// TestSynchronizeAfterHandingOn: a goroutine that has handed its reader on offline may wait for a
// grace period while the next one goes online.
func TestSynchronizeAfterHandingOn(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	for range testutil.Stress(t, 10_000) {
		r.Online()
		r.Offline()
		done := make(chan bool)
		go func() {
			r.Online()
			r.Offline()
			close(done)
		}()
		if err := d.Synchronize(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-done
	}
	_ = r.Close() // always nil
}

// TestBarrierByUnusedReader: a goroutine that waits for callbacks which wait for a reader that it
// has registered, and not used since, is told.
func TestBarrierByUnusedReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		r := d.Register("reader")
		d.Defer(func() {})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := d.Barrier(ctx); !errors.Is(err, ErrInReader) {
			t.Errorf("Barrier: %v", err)
		}
		_ = r.Close() // always nil
		if err := d.Barrier(ctx); err != nil {
			t.Error(err)
		}
	})
}
