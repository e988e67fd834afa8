package slab

import (
	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// takeRun takes the run of a new slab from the arena, and freeRun gives it back. No other function
// does so. The bytes are charged before the arena is asked, and no longer charged once it has the
// run again: at no instant do the slabs have a page that is not charged. A slab that is empty,
// that waits for AfterGracePeriod, or whose objects all lie in sheaves is charged like any other.
// A run that the arena can't have, see openFence, is lost to all and is not charged either.
func (s *Slabs) takeRun(pages, node int) (arena.Run, error) {
	bytes := int64(s.arena.RunPages(pages)) * mem.PageSize
	if s.charge != nil {
		if err := s.charge(bytes); err != nil {
			return arena.Run{}, err
		}
	}
	run, err := s.arena.AllocPages(pages, node)
	if err != nil {
		if s.uncharge != nil {
			s.uncharge(bytes)
		}
		return arena.Run{}, err
	}
	if err := s.prepareTables(s.arena.Addr(run.Page), uintptr(run.Pages)*mem.PageSize); err != nil {
		s.freeRun(run.Page, int(run.Pages))
		return arena.Run{}, err
	}
	return run, nil
}

// prepareTables makes what is kept beside n bytes of the arena writable.
func (s *Slabs) prepareTables(addr, n uintptr) error {
	if s.marks != nil {
		if err := s.marks.prepare(addr, n); err != nil {
			return err
		}
	}
	if s.exts != nil {
		return s.exts.prepare(addr, n)
	}
	return nil
}

// freeRun gives back the run of that many pages, beside its fence, with the given head page.
func (s *Slabs) freeRun(page uint32, pages int) {
	if s.fenceEvery != 0 {
		if _, all, _ := s.arena.Head(page); all > pages {
			opened := s.openFence(page, pages)
			if pages = all; !opened {
				s.unchargeRun(pages)
				return
			}
		}
	}
	s.arena.Free(page)
	s.unchargeRun(pages)
}

// unchargeRun notes that a run of that many pages is not the slabs' any more.
func (s *Slabs) unchargeRun(pages int) {
	if s.uncharge != nil {
		s.uncharge(int64(pages) * mem.PageSize)
	}
}
