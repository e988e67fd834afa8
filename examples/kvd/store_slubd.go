package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/rcumap"
)

// slubdStore keeps everything outside the Go heap: entries and table are of a rcumap.Map, whose
// memory is of an arena of its own, which has the limit. A get takes no lock. evict.go says what
// happens at the limit.
type slubdStore struct {
	domain  rcu.Domain // its sections cover gets
	arena   *arena.Arena
	entries *rcumap.Map

	sweep rcumap.Cursor // where expire goes on

	evict evictor

	recording *recording // nil without -record
}

// newSlubdStore makes a store of at most o.limit bytes, 0 for no limit. The profile samples one
// allocation in o.profileRate bytes; 0 is what the environment says.
func newSlubdStore(o options) (*slubdStore, error) {
	if o.limit < 0 {
		return nil, fmt.Errorf("-limit: %d is negative", o.limit)
	}
	a, err := arena.New(arena.Config{Name: "kvd", Limit: o.limit})
	if err != nil {
		return nil, err
	}
	s := &slubdStore{arena: a, domain: rcu.Domain{Name: "kvd"}}
	if s.recording, err = record(o.record); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	s.entries, err = rcumap.New(rcumap.Config{
		Name: "kvd", Arena: a, Domain: &s.domain, ProfileRate: o.profileRate, Hooks: s.recording.hooks(),
	})
	if err != nil {
		return nil, errors.Join(err, s.recording.close(), a.Close())
	}
	s.evict.start(s)
	return s, nil
}

// The word of an entry holds its deadline above usesBits, and below how often it was used lately.
const (
	usesBits = 2
	maxUses  = 1<<usesBits - 1
	// newUses is what an entry begins with: one that was never read leaves before one that was.
	newUses = 1
	// maxDeadline is as many milliseconds as there is room for, 73 million years.
	maxDeadline = math.MaxInt64 >> usesBits
)

func deadlineOf(i rcumap.Item) int64 { return int64(i.Word().Load() >> usesBits) }

func isLive(i rcumap.Item, now int64) bool { return i.Found() && !expired(deadlineOf(i), now) }

// use notes that an entry was read. Entries that are read often have all bits set, and reading them
// writes nothing, so that no CPU takes a cache line away from others. A count that is lost because
// another goroutine changes the word at this moment doesn't matter.
func use(i rcumap.Item) {
	if w := i.Word().Load(); w&maxUses < maxUses {
		i.Word().CompareAndSwap(w, w+1)
	}
}

func (s *slubdStore) get(dst, key []byte, now int64) (reply []byte, found bool) {
	section := s.domain.Enter()
	i := s.entries.Lookup(key)
	there, live := i.Found(), isLive(i, now)
	if live {
		use(i)
		dst = appendBulk(dst, i.Value()) // a copy: the value may be reused after Exit
	}
	section.Exit()
	if there && !live {
		s.removeExpired(key, now)
	}
	return dst, live
}

// removeExpired deletes a key that has expired, unless it has been set again.
func (s *slubdStore) removeExpired(key []byte, now int64) bool {
	return s.entries.DeleteIf(key, func(i rcumap.Item) bool { return !isLive(i, now) })
}

func (s *slubdStore) update(key []byte, room int, now int64, u updater) error {
	// A value that can't fit is refused before others are evicted for it.
	if limit := s.arena.Limit(); int64(len(key)+room) > limit/2 {
		return fmt.Errorf("%w: a value of %d bytes", errLimit, room)
	}
	for tries := emptyTries; ; {
		evicted := s.evict.count.Load()
		err := s.entries.Update(key, room, func(old, fresh rcumap.Item) rcumap.Change {
			var value []byte
			var deadline int64
			if isLive(old, now) {
				value, deadline = old.Value(), deadlineOf(old)
			}
			what, n, deadline := u.change(value, deadline, fresh.Value())
			if what == keep {
				return rcumap.Keep
			}
			fresh.Truncate(n)
			s.setWord(fresh, deadline, newUses)
			return rcumap.Replace
		})
		if !errors.Is(err, arena.ErrLimit) {
			return err
		}
		if s.len() > 0 {
			tries = emptyTries
		} else if tries--; tries == 0 {
			return fmt.Errorf("%w: %w", errLimit, err)
		}
		if s.evict.count.Load() == evicted {
			s.evict.some() // the arena has not asked: one page exceeds its limit, for example
		}
		// What was evicted is free after a grace period.
		if err := s.entries.Memory().Barrier(context.Background()); err != nil {
			return err
		}
	}
}

// emptyTries is how often an update asks for memory when nothing is left to be evicted: what left
// last waits for its grace period, and other updates may be first to take it.
const emptyTries = 10

// setWord sets the word of an entry.
func (s *slubdStore) setWord(i rcumap.Item, deadline int64, uses uint64) {
	i.Word().Store(uint64(deadline)<<usesBits | uses)
}

func (s *slubdStore) remove(key []byte, now int64) bool {
	live := false
	s.entries.DeleteIf(key, func(i rcumap.Item) bool {
		live = isLive(i, now)
		return true
	})
	return live
}

func (s *slubdStore) deadline(key []byte, now int64) (deadline int64, found bool) {
	defer s.domain.Enter().Exit()
	i := s.entries.Lookup(key)
	if !isLive(i, now) {
		return 0, false
	}
	return deadlineOf(i), true
}

// setDeadline writes the deadline in place, under the lock of writers: an update at the same time
// either comes before it or takes the new deadline over.
func (s *slubdStore) setDeadline(key []byte, now, deadline int64, allowed func(old int64) bool) (done bool) {
	may := func(i rcumap.Item) bool {
		done = isLive(i, now) && allowed(deadlineOf(i))
		return done
	}
	if expired(deadline, now) {
		s.entries.DeleteIf(key, may)
		return done
	}
	s.entries.Edit(key, func(i rcumap.Item) {
		if may(i) {
			s.setWord(i, deadline, newUses)
		}
	})
	return done
}

func (s *slubdStore) size(key []byte, now int64) (bytes int, found bool) {
	defer s.domain.Enter().Exit()
	i := s.entries.Lookup(key)
	if !isLive(i, now) {
		return 0, false
	}
	return s.entries.Footprint(i), true
}

// scan asks the map for one key at a time, so that it can stop behind each of them.
func (s *slubdStore) scan(cursor uint64, n int, now int64, visit func(key []byte) bool) (next uint64, more bool) {
	defer s.domain.Enter().Exit()
	more = true
	show := func(i rcumap.Item) {
		if isLive(i, now) {
			more = visit(i.Key()) && more
		}
	}
	for ; n > 0 && more; n-- {
		cursor = uint64(s.entries.Scan(rcumap.Cursor(cursor), 1, show))
		more = more && cursor != 0
	}
	return cursor, more
}

func (s *slubdStore) expire(n int, now int64) (seen, gone int) {
	s.sweep, gone, _ = s.entries.Sweep(s.sweep, n, func(i rcumap.Item) bool {
		seen++
		return !isLive(i, now)
	})
	return seen, gone
}

func (s *slubdStore) len() int { return s.entries.Len() }

// clearBatch is how many entries a step of clear takes: few enough that no grace period is held up
// for long.
const clearBatch = 256

func (s *slubdStore) clear() {
	step := func(c rcumap.Cursor) rcumap.Cursor {
		next, _, _ := s.entries.Sweep(c, clearBatch, func(rcumap.Item) bool { return true })
		return next
	}
	for c := step(0); c != 0; c = step(c) {
	}
	// What was deleted is free after a grace period; then its pages can go back to the kernel.
	if err := s.entries.Memory().Barrier(context.Background()); err == nil {
		s.entries.Memory().Shrink()
	}
}

func (s *slubdStore) memory() memory {
	m := memory{used: s.arena.InUse(), limit: s.arena.Limit(), evicted: s.evict.count.Load()}
	if m.limit == arena.Unlimited {
		m.limit = 0
	}
	b := s.entries.Memory().Stats()
	m.data, m.waiting = b.Bytes, b.Backlog.Bytes
	return m
}

func (s *slubdStore) setLimit(bytes int64) error {
	if bytes < 0 {
		return errors.New("a limit is not negative")
	}
	s.arena.SetLimit(bytes)
	s.evict.toLimit()
	return nil
}

// close frees everything, after the end of the recording. No get may be running. An entry, a page
// or a cache that is lost is an error of the Map or the Arena.
func (s *slubdStore) close() error {
	s.evict.stop()
	return errors.Join(s.recording.close(), s.entries.Close(), s.arena.Close())
}

// errLimit reports that there is no memory even without other entries.
var errLimit = fmt.Errorf("%w of -limit", slub.ErrNoMemory)
