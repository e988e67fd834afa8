package sheaves

import (
	"errors"
	"math"
	"sync/atomic"
)

const defaultWaiting = 512

// defaultSheaves is MAX_FULL_SHEAVES and MAX_EMPTY_SHEAVES.
const defaultSheaves = 10

// limits are the words that SetCapacity and SetLimits write, under Set.flushing; every
// operation reads them.
type limits struct{ capacity, maxFull, maxEmpty, maxWaiting atomic.Int32 }

func (l *limits) init(cfg Config) {
	orDefault := func(n, otherwise int) int32 {
		if n == 0 {
			n = otherwise
		}
		return int32(n)
	}
	l.capacity.Store(int32(cfg.Capacity))
	l.maxFull.Store(orDefault(cfg.MaxFull, defaultSheaves))
	l.maxEmpty.Store(orDefault(cfg.MaxEmpty, defaultSheaves))
	l.maxWaiting.Store(orDefault(cfg.MaxWaiting, defaultWaiting))
}

// Capacity returns how many objects a sheaf holds.
func (s *Set) Capacity() int { return int(s.capacity.Load()) }

// MaxFull returns how many full sheaves a barn keeps.
func (s *Set) MaxFull() int { return int(s.maxFull.Load()) }

// MaxEmpty returns how many empty sheaves a barn keeps.
func (s *Set) MaxEmpty() int { return int(s.maxEmpty.Load()) }

// MaxWaiting returns how many sheaves a barn lets wait for CPUs to want them.
func (s *Set) MaxWaiting() int { return int(s.maxWaiting.Load()) }

// retired reports whether SetCapacity has overtaken a sheaf. Asked under the lock of
// the stack that the sheaf is about to enter, the answer holds as long as the lock.
func (s *Set) retired(sh *sheaf) bool { return int(sh.limit) != s.Capacity() }

// SetLimits changes how many full and empty sheaves a barn keeps, 0 for none, and
// gives back what is beyond. Both limits stay soft. Errors: ErrConfig.
func (s *Set) SetLimits(maxFull, maxEmpty int) error {
	if err := errors.Join(within("MaxFull", maxFull, 0, math.MaxInt32), within("MaxEmpty", maxEmpty, 0, math.MaxInt32)); err != nil {
		return err
	}
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.maxFull.Store(int32(maxFull))
	s.maxEmpty.Store(int32(maxEmpty))
	for i := range s.barns {
		s.discardAll(s.barns[i].excess(maxFull, maxEmpty))
	}
	return nil
}
