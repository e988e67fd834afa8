package sheaves

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/testutil"
)

// TestStressLimits is TestStress while capacity and limits change all the time.
func TestStressLimits(t *testing.T) { runStress(t, (*stress).disturb, (*stress).change) }

// change gives the set one capacity after the other, until done. When SetCapacity returns no sheaf
// of another capacity may be in use.
func (s *stress) change(done <-chan struct{}) {
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
		if n := s.staleSheaves(); n > 0 {
			s.t.Errorf("%d sheaves of another capacity are in use", n)
		}
		if err := s.SetLimits(rng.IntN(22)-1, rng.IntN(22)-1); err != nil {
			s.t.Error(err)
		}
	}
}

// changeUntilClosed changes limits before, during and after a Close.
func (s *stress) changeUntilClosed() {
	for n := 1; ; n = n%20 + 1 {
		err := s.SetCapacity(n, n)
		if errors.Is(err, ErrClosed) {
			return
		}
		if err = errors.Join(err, s.SetLimits(n%5-1, n%4-1)); err != nil {
			s.t.Error(err)
			return
		}
	}
}
