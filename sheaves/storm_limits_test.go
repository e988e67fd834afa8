package sheaves

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/testutil"
)

// TestLimitsStorm is TestStorm while capacity and limits change all the time.
func TestLimitsStorm(t *testing.T) { runStorm(t, (*storm).disturb, (*storm).change) }

// change gives the set one capacity after the other, each of which must be everywhere
// at once, until done.
func (s *storm) change(done <-chan struct{}) {
	rng := rand.New(rand.NewPCG(testutil.Seed(s.t), 1<<32))
	changes := 0
	defer func() { s.t.Logf("%d changes", changes) }()
	for ; ; changes++ {
		select {
		case <-done:
			return
		case <-time.After(50 * time.Microsecond):
		}
		if err := s.SetCapacity(1+rng.IntN(200), 1+rng.IntN(16)); err != nil {
			s.t.Error(err)
		}
		if n := s.foreign(); n > 0 {
			s.t.Errorf("%d sheaves of another capacity are in use", n)
		}
		if err := s.SetLimits(rng.IntN(21), rng.IntN(21)); err != nil {
			s.t.Error(err)
		}
	}
}

// changeUntilClosed changes limits before, under and after a Close.
func (s *storm) changeUntilClosed() {
	for n := 1; ; n = n%20 + 1 {
		err := s.SetCapacity(n, n)
		if errors.Is(err, errClosed) {
			return
		}
		if err = errors.Join(err, s.SetLimits(n%4, n%3)); err != nil {
			s.t.Error(err)
			return
		}
	}
}
