package rcu

import (
	"math"
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
)

// Token names a grace period: it is the sequence number that every reader must have seen before the
// period is over. The zero Token names no period and is always over. A Token is valid in the domain
// that made it and, since sequence numbers wrap around, for its next 2^62 grace periods.
type Token uint64

const (
	// step keeps sequence numbers odd, and thereby different from offline and from the zero Token,
	// even across wrap-around.
	step = 2
	// first is where sequence numbers start: any odd number would do.
	first = 1
	// nearWrap is where they start under invariants: 32 grace periods before wrap-around, so that
	// every test passes through it.
	nearWrap = math.MaxUint64 - 32*step
)

// sequence is an atomic Token. Its zero value stands for the first Token, which keeps the zero
// Domain ready for use.
type sequence struct{ advanced atomic.Uint64 }

func origin() uint64 {
	if invariants.Enabled {
		return nearWrap
	}
	return first
}

func (s *sequence) load() Token { return Token(s.advanced.Load() + origin()) }

// next advances the sequence by one step and returns the new value.
func (s *sequence) next() Token { return Token(s.advanced.Add(step) + origin()) }

// raise advances the sequence to t and reports whether it was behind.
func (s *sequence) raise(t Token) bool {
	for {
		old := s.load()
		if reached(old, t) {
			return false
		}
		if s.advanced.CompareAndSwap(uint64(old)-origin(), uint64(t)-origin()) {
			return true
		}
	}
}

// reached reports whether now is at or past goal. The difference is signed, so the answer is right
// across wrap-around.
func reached(now, goal Token) bool { return int64(now-goal) >= 0 }
