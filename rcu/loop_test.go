package rcu

import (
	"testing"
)

// TestLoop: rounds are online and reported every 64 rounds, waits are offline, and the loop ends
// when wait returns false.
func TestLoop(t *testing.T) {
	var d Domain
	const bursts = 3
	rounds, waits, held := 0, 0, 0
	var token Token
	d.Run("loop", func(r *Reader) {
		r.Loop(func() bool {
			if d.Stats().Online != 1 {
				t.Error("a round is not online")
			}
			if token == 0 || d.PollNoAdvance(token) {
				token, held = d.Start(), 0
			} else if held++; held > reportEvery {
				t.Fatalf("no report in %d rounds", held)
			}
			rounds++
			return rounds%(5*reportEvery) != 0
		}, func() bool {
			if d.Stats().Online != 0 || !d.Poll(d.Start()) {
				t.Error("a wait is not offline")
			}
			waits++
			return waits < bursts
		})
		if d.Stats().Online != 1 {
			t.Error("not online after the loop")
		}
	})
	if rounds != bursts*5*reportEvery || waits != bursts || d.Stats().Readers != 0 {
		t.Errorf("%d rounds, %d waits, %d readers left", rounds, waits, d.Stats().Readers)
	}
}

// TestRunCloses: Run closes the reader even if work panics.
func TestRunCloses(t *testing.T) {
	var d Domain
	wantPanic(t, "work", func() {
		d.Run("panics", func(r *Reader) {
			r.Lock()
			panic("work")
		})
	})
	wantPanic(t, "blocked", func() {
		d.Run("panics", func(r *Reader) { r.Blocking(func() { panic("blocked") }) })
	})
	if s := d.Stats(); s.Readers != 0 {
		t.Errorf("%d readers are left", s.Readers)
	}
}

// TestLoopGoesOnline: the first round is online, too, if the reader was offline.
func TestLoopGoesOnline(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	r.Offline()
	online := 0
	r.Loop(func() bool { online += d.Stats().Online; return online == 1 }, func() bool { return false })
	if online != 2 {
		t.Errorf("%d of 2 rounds were online", online)
	}
}

func TestBlockingEndsOnline(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	wantPanic(t, "blocked", func() { r.Blocking(func() { panic("blocked") }) })
	if d.Stats().Online != 1 {
		t.Error("offline after Blocking")
	}
}

// TestRunKeepsWorksPanic: Run passes the work's panic on. It doesn't panic itself because the work
// has stopped inside a section.
func TestRunKeepsWorksPanic(t *testing.T) {
	var d Domain
	var s Section
	wantPanic(t, "panic of the work", func() {
		d.Run("worker", func(*Reader) {
			s = d.Enter()
			panic("panic of the work")
		})
	})
	s.Exit()
	if n := d.Stats().Readers; n != 0 {
		t.Errorf("%d readers are left", n)
	}
}
