package rcu

import (
	"math"
	"sync"
	"testing"

	"github.com/slubd/slubd/internal/invariants"
)

func TestReachedAcrossWrap(t *testing.T) {
	const last = math.MaxUint64 // odd, so a sequence number; the next one is 1
	for _, c := range []struct {
		now, goal Token
		want      bool
	}{
		{now: 1, goal: 1, want: true},
		{now: 1, goal: 3, want: false},
		{now: 3, goal: 1, want: true},
		{now: 1, goal: last, want: true},
		{now: last, goal: 1, want: false},
		{now: last, goal: last - 2, want: true},
	} {
		if got := reached(c.now, c.goal); got != c.want {
			t.Errorf("reached(%#x, %#x) = %v", c.now, c.goal, got)
		}
	}
}

// TestSequenceIsNeverOffline steps past wrap-around in builds with invariants.
func TestSequenceIsNeverOffline(t *testing.T) {
	var s sequence
	start, wrapped := s.load(), false
	for range 100 {
		before := s.load()
		now := s.next()
		if now == offline || reached(before, now) || s.load() != now {
			t.Fatalf("%#x is followed by %#x", before, now)
		}
		wrapped = wrapped || now < start
	}
	if wrapped != invariants.Enabled {
		t.Errorf("wrapped = %v from %#x on", wrapped, start)
	}
}

func TestRaiseKeepsTheLargest(t *testing.T) {
	var s, goals sequence
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				goal := goals.next()
				s.raise(goal)
				if !reached(s.load(), goal) {
					t.Errorf("raised to %#x, found %#x", goal, s.load())
				}
			}
		})
	}
	wg.Wait()
	if s.load() != goals.load() {
		t.Errorf("ended at %#x, raised to %#x", s.load(), goals.load())
	}
	for _, goal := range []Token{s.load(), s.load() - step} {
		if s.raise(goal) || s.load() != goals.load() {
			t.Errorf("raised to %#x, which it had reached", goal)
		}
	}
}
