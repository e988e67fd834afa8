package sheaves

import (
	"sync/atomic"
)

// limits are the words that SetCapacity and SetLimits write, under Set.flushing. Every operation
// reads them.
type limits struct{ capacity, maxFull, maxEmpty, maxWaiting atomic.Int32 }

func (l *limits) init(cfg *Config) {
	l.capacity.Store(int32(cfg.Capacity))
	l.maxFull.Store(limit(cfg.MaxFull, defaultSheaves))
	l.maxEmpty.Store(limit(cfg.MaxEmpty, defaultSheaves))
	l.maxWaiting.Store(limit(cfg.MaxWaiting, defaultWaiting))
}

// limit is what a Config's number of sheaves stands for: automatic if it is 0, none if it is
// negative.
func limit(n, automatic int) int32 { return int32(max(0, orElse(n, automatic))) }

// Capacity returns how many objects a sheaf holds.
func (s *Set) Capacity() int { return int(s.capacity.Load()) }

// MaxFull returns how many full sheaves a barn keeps.
func (s *Set) MaxFull() int { return int(s.maxFull.Load()) }

// MaxEmpty returns how many empty sheaves a barn keeps.
func (s *Set) MaxEmpty() int { return int(s.maxEmpty.Load()) }

// MaxWaiting returns how many sheaves a barn lets wait for a CPU to want them.
func (s *Set) MaxWaiting() int { return int(s.maxWaiting.Load()) }

// staleCapacity reports whether SetCapacity has changed the capacity since the sheaf was made.
// Under the lock of the stack that the sheaf is about to enter, the answer stays true as long as
// the lock is held.
func (s *Set) staleCapacity(sh *sheaf) bool { return int(sh.limit) != s.Capacity() }

// SetLimits changes how many full and empty sheaves a barn keeps, as in Config: 0 is automatic,
// None keeps none. It gives back what is beyond. Errors: ErrConfig.
func (s *Set) SetLimits(maxFull, maxEmpty int) error {
	p := problems()
	checkLimit(&p, "MaxFull", maxFull)
	checkLimit(&p, "MaxEmpty", maxEmpty)
	if err := p.Err(); err != nil {
		return err
	}
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.maxFull.Store(limit(maxFull, defaultSheaves))
	s.maxEmpty.Store(limit(maxEmpty, defaultSheaves))
	for i := range s.barns {
		s.discardAll(s.barns[i].excess(s.MaxFull(), s.MaxEmpty()))
	}
	return nil
}
