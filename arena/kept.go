package arena

import (
	"cmp"
	"errors"
	"slices"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// A freed mapping is kept with its pages, so that the next one of its size and node costs no system
// call and no page fault. Its pages are dirty, like those of freed runs, and count in the same sum
// of the ledger. So MaxDirty, the limit, Purge and Decay bound them, and they are discarded before
// an allocation fails. Config.Lock keeps none.
//
// # Which goroutine may use a mapping
//
// A mapping is in one of four states. Only mappings.mu's holder moves it between the maps:
//
//	live    in mappings.live. Its memory is its owner's; its pages are in use.
//	kept    in mappings.kept. Its pages, at least one, are dirty.
//	clean   in mappings.clean. It has no pages: its memory reads zero.
//	taken   in none of them: one goroutine has it, in Map or Unmap or in a discard.
//
// The fields of a mapping are written by the goroutine that has taken it, and under mu as it is
// taken or put back; other goroutines read them under mu. So neither Map nor a second discard can
// meet a mapping that is being discarded, which is done with mu unlocked, since it is a system
// call: the discard would wipe what Map's caller writes.
//
// # Which pages count as dirty
//
// The dirty sum changes under mu together with the map kept, as it does with a zone's lists under
// the zone's mu. There is one exception: while a discard has taken a mapping, the pages that it
// leaves alone stay dirty, although Map can't find them. A discard holds Arena.purging from before
// it takes the mapping until it has put it back. An allocation fails for the limit only if a holder
// of purging finds the limit reached (full), and then no mapping is taken by a discard.
//
// Map takes a kept mapping and charges the pages that it lacks in one step of the ledger. If they
// don't fit, the mapping stays where it is. So an attempt that fails makes no other one fail.
//
// # Sizes
//
// A mapping serves sizes of its class (mappingClass). If it has fewer pages than are needed, the
// others are charged and read zero. If it has more, these are discarded first, so that a mapping
// that is in use is charged for what it has, and no memory is idle that no allocation can get.
// Pages go from the end, at most 4 MiB at a time: what is left of a mapping is used again, and
// an Alloc that waits for purging waits for no longer than with runs.

// keptKey says which kept mappings serve a request: those of its class on its node, where their
// pages are.
type keptKey struct {
	reserved uintptr
	node     numa.Node
}

func (m *mapping) key() keptKey { return keptKey{m.backing.size, m.node} }

// errTooLong says that a kept mapping has more pages than are needed.
var errTooLong = errors.New("arena: the kept mapping is too long")

// keep makes a mapping with pages in use a kept one. Preconditions: mu is held.
func (b *mappings) keep(m *mapping, a *Arena) {
	b.frees++
	m.order, m.tick = b.frees, b.ticks
	b.kept[m.key()] = append(b.kept[m.key()], m)
	b.free += m.charged * mem.PageSize
	a.addDirty(m.home, m.charged)
}

// remove takes a mapping out of kept. Preconditions: mu is held, and it is there.
func (b *mappings) remove(m *mapping) {
	list := b.kept[m.key()]
	i := slices.Index(list, m)
	b.kept[m.key()] = slices.Delete(list, i, i+1) // an empty list has room for the next free
}

// takeKept takes a kept mapping for that many pages, nil if there is none, and charges the pages
// that it lacks. It also returns how many pages the mapping has kept.
func (a *Arena) takeKept(key keptKey, pages int64) (m *mapping, dirty int64, err error) {
	m, dirty, err = a.reuse(key, pages, false)
	if err == nil {
		return m, dirty, nil
	}
	a.purging.Lock()
	defer a.purging.Unlock()
	refused := false // to discard what is too long
	for {
		m, dirty, err = a.reuse(key, pages, refused)
		switch {
		case err == nil:
			return m, dirty, nil
		case err == errTooLong:
			refused = a.shorten(m, key, pages) != nil
		default:
			if err := a.makeRoom(a.homeOf(key.node), pages, err); err != nil {
				return nil, 0, err
			}
		}
	}
}

// near is the number of kept mappings, of those freed last, among which reuse looks for one of just
// the right size.
const near = 8

// reuse is one attempt of takeKept. It returns ErrLimit or ErrNodeLimit if the pages that the
// mapping lacks exceed a limit, and unless long says that it may be, errTooLong with a mapping that
// is too long. This one stays kept.
func (a *Arena) reuse(key keptKey, pages int64, long bool) (m *mapping, dirty int64, err error) {
	b := &a.big
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.kept[key]
	if len(list) == 0 {
		return nil, 0, nil
	}
	m = list[len(list)-1]
	for i := len(list) - 1; i >= max(0, len(list)-near); i-- {
		if list[i].charged == pages {
			m = list[i]
			break
		}
	}
	if m.charged > pages && !long {
		return m, 0, errTooLong
	}
	if err := a.tryChargeKept(m.home, m.charged, max(0, pages-m.charged)); err != nil {
		return nil, 0, err
	}
	b.remove(m)
	b.free -= m.charged * mem.PageSize
	dirty = m.charged
	m.charged = max(m.charged, pages)
	return m, dirty, nil
}

// shorten discards what a kept mapping has beyond that many pages, or 4 MiB of it, unless another
// goroutine has taken it. Preconditions: purging is held.
func (a *Arena) shorten(m *mapping, key keptKey, pages int64) error {
	a.big.mu.Lock()
	more, found := int64(0), slices.Contains(a.big.kept[key], m)
	if found {
		more = min(m.charged-pages, m.lastPages())
		found = more > 0
	}
	if found {
		a.big.detach(m, more, a)
	}
	a.big.mu.Unlock()
	if !found {
		return nil
	}
	a.keepSmallFrom(m, m.charged-more)
	return a.discardTail(m, more)
}

// lastPages returns how many pages to discard from the end of a mapping at a time: at most 4 MiB,
// such that whole huge pages are left.
func (m *mapping) lastPages() int64 { return (m.charged-1)%(1<<MaxOrder) + 1 }

// keepSmallFrom prepares to cut a mapping off within a huge page, as keepSmall does for a block:
// khugepaged would fill the hole behind the cut. From that huge page on the mapping gets no more
// huge ones. That is one part of it, and an eighth at most, since mappings of one class differ by
// no more, or 4 MiB. Preconditions: purging is held, and the mapping is detached.
func (a *Arena) keepSmallFrom(m *mapping, page int64) {
	if a.cfg.HugePages != HugeDefault || page%(1<<hugeOrder) == 0 {
		return
	}
	from := uintptr(page>>hugeOrder) << hugeOrder * mem.PageSize
	m.backing.keepSmall(m.backing.base+from, m.backing.size-from)
}

// detach takes a mapping out of kept, the last pages of which are to be discarded. Preconditions:
// mu and purging are held.
func (b *mappings) detach(m *mapping, pages int64, a *Arena) {
	b.remove(m)
	a.subDirty(m.home, pages)
}

// discardTail gives the last pages of a detached mapping to the kernel, and attaches it again. If
// the kernel refuses, all of it is kept as if it had just been freed, so that others are tried
// before it. Preconditions: purging is held.
func (a *Arena) discardTail(m *mapping, pages int64) error {
	b, rest := &a.big, m.charged-pages
	err := m.discardFrom(rest)
	b.mu.Lock()
	switch {
	case err != nil:
		b.free -= m.charged * mem.PageSize
		a.subDirty(m.home, rest) // keep adds all of them
		b.keep(m, a)
	default:
		m.charged = rest
		b.free -= pages * mem.PageSize
		a.uncharge(m.home, pages)
		b.attach(m)
	}
	b.mu.Unlock()
	if err != nil {
		a.failures.Add(1)
		a.arm()
	}
	followCoupling()
	return err
}

// attach returns a mapping, some of whose pages have been discarded, to its place. Preconditions:
// mu is held.
func (b *mappings) attach(m *mapping) {
	if m.charged == 0 {
		b.putClean(m)
		return
	}
	list := b.kept[m.key()]
	i, _ := slices.BinarySearchFunc(list, m.order, func(o *mapping, order uint64) int {
		return cmp.Compare(o.order, order)
	})
	b.kept[m.key()] = slices.Insert(list, i, m)
}

// discardKept discards the end of the kept mapping that was freed first, if idle says so only of
// one that nothing has needed for Config.Decay, and if of is not nil only of one in that memory. It
// returns the bytes, 0 if there is none.
// Preconditions: purging is held.
func (a *Arena) discardKept(idle bool, of *nodeLedger) (released int64, err error) {
	m, pages := a.detachOldest(idle, of)
	switch {
	case pages == 0:
		return 0, nil
	case m == nil:
		return 0, errLocked
	}
	if err := a.discardTail(m, pages); err != nil {
		return 0, err
	}
	return pages * mem.PageSize, nil
}

// detachOldest detaches the mapping for discardKept, and returns how many of its pages are to be
// discarded. With Config.Lock it detaches none.
//
// A mapping that was freed in one tick is idle after ticks whole ones, as pages of runs are. The
// one that was freed last is taken first, so that of mappings that come and go those which are
// never needed grow old.
func (a *Arena) detachOldest(idle bool, of *nodeLedger) (oldest *mapping, pages int64) {
	b := &a.big
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, list := range b.kept {
		if len(list) == 0 || of != nil && list[0].home != of {
			continue
		}
		if oldest == nil || list[0].order < oldest.order {
			oldest = list[0]
		}
	}
	if oldest == nil || idle && b.ticks-oldest.tick <= ticks {
		return nil, 0
	}
	pages = oldest.lastPages()
	if a.cfg.Lock {
		return nil, pages
	}
	b.detach(oldest, pages, a)
	return oldest, pages
}

// tick ends a tick of Config.Decay.
func (b *mappings) tick() {
	b.mu.Lock()
	b.ticks++
	b.mu.Unlock()
}
