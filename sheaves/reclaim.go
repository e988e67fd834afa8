package sheaves

import (
	"context"

	"github.com/slubd/slubd/rcu"
)

// reclaimExcess is the callback that reclaims what waits in b beyond MaxWaiting. armed is cleared
// first, so that a sheaf parked while this runs is either reclaimed here or arms b again.
func (s *Set) reclaimExcess(b *barn) {
	b.armed.Store(false)
	for b.waits() > s.MaxWaiting() && s.reclaimOne(b) {
	}
	if b.anyWaiting() {
		s.arm(b)
	}
}

// reclaimOne reclaims a ready sheaf of b's, whichever CPU's is the youngest, if there is one, and
// reports whether there was (kernel: rcu_free_sheaf).
func (s *Set) reclaimOne(b *barn) bool { return s.reclaimBy(b, b.takeYoungest) }

// reclaimBy is reclaimOne for the sheaf that take returns.
func (s *Set) reclaimBy(b *barn, take func(*rcu.Domain) *sheaf) bool {
	at := s.reclaiming.enter()
	defer s.reclaiming.leave(at)
	sh := take(s.domain)
	if sh == nil {
		return false
	}
	s.reclaim(sh, b)
	s.returnReclaimed(sh, b)
	return true
}

// reclaimAll reclaims all the sheaves that take returns, which are ready, and returns how many
// objects they had. When ctx ends it leaves the rest of them to another goroutine.
func (s *Set) reclaimAll(ctx context.Context, b *barn, take func(*rcu.Domain) *sheaf) (objects int) {
	if !b.anyWaiting() {
		return 0
	}
	at := s.reclaiming.enter()
	ready := take(s.domain)
	objects = int(objectsIn(ready))
	s.reclaimChain(ctx, ready, b, at)
	return objects
}

// reclaimChain reclaims and returns the sheaves linked by next. It counts in s.reclaiming until the
// last one is done. If a destructor ends the goroutine, or ctx ends, another goroutine goes on with
// the next sheaf.
func (s *Set) reclaimChain(ctx context.Context, next *sheaf, b *barn, at place) {
	defer func() {
		if next != nil {
			go s.reclaimChain(context.Background(), next, b, at)
			return
		}
		s.reclaiming.leave(at)
	}()
	for next != nil && ctx.Err() == nil {
		sh := next
		next = sh.next
		s.reclaim(sh, b)
		s.returnReclaimed(sh, b)
	}
}

// reclaim has destructors and free hooks run on the objects of a ready sheaf of b's. From taking it
// off the barn until it has a place the caller counts in s.reclaiming. If a destructor ends the
// goroutine, the objects are the Source's, and the sheaf gets its place here.
func (s *Set) reclaim(sh *sheaf, b *barn) {
	sh.check()
	s.discharge(sh, 0)
	objs, returned := sh.objects(), false
	sh.size = 0
	defer func() {
		if !returned {
			s.returnReclaimed(sh, b)
			s.arm(b) // the goroutine that was to reclaim the others is ending
		}
	}()
	sh.size = uint32(s.source.Reclaim(objs))
	returned = true
}

// returnReclaimed finds a place for a reclaimed sheaf: in the barn that it came from, if its limits
// allow. If the Source doesn't return, it is the pool.
func (s *Set) returnReclaimed(sh *sheaf, b *barn) {
	if sh.size > 0 && !sh.noBarn && b.fulls() < s.MaxFull() {
		s.putInBarn(sh, b)
		return
	}
	if sh.size > 0 {
		if !sh.noBarn {
			s.count(BarnPutFail, 1)
		}
		s.flushSheaf(sh)
	}
	if !sh.noBarn && b.empties() < s.MaxEmpty() {
		s.putInBarn(sh, b)
	} else {
		s.freeSheaf(sh)
	}
}

// takeReclaimed takes and reclaims a ready sheaf for a CPU that wants objects at once. The sheaf
// counts as if it had gone through the barn.
func (s *Set) takeReclaimed(b *barn) *sheaf {
	if !b.anyWaiting() {
		return nil
	}
	at := s.reclaiming.enter()
	defer s.reclaiming.leave(at)
	sh := b.takeReady(s.domain)
	if sh == nil {
		return nil
	}
	s.reclaim(sh, b)
	if sh.size == 0 || sh.noBarn {
		s.returnReclaimed(sh, b)
		return nil
	}
	s.count(BarnPut, 1)
	s.count(BarnGet, 1)
	return sh
}
