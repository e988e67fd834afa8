package main

import (
	"errors"
	"hash/maphash"
	"sync"
)

// heapStore is how a Go program without slubd would do it: Go maps under locks, values as slices.
// The garbage collector sees all of it. Its memory has no limit but GOMEMLIMIT.
type heapStore struct {
	seed   maphash.Seed
	shards [heapShards]heapShard
	sweep  int // shard where expire goes on
}

const heapShards = 1024

type heapShard struct {
	mu     sync.RWMutex
	values map[string]*heapValue
	_      [64]byte // no two locks on a cache line
}

type heapValue struct {
	value    []byte // never written to again
	deadline int64
}

func newHeapStore() *heapStore {
	s := &heapStore{seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].values = map[string]*heapValue{}
	}
	return s
}

func (v *heapValue) live(now int64) bool { return v != nil && !expired(v.deadline, now) }

func (s *heapStore) shard(key []byte) *heapShard {
	return &s.shards[maphash.Bytes(s.seed, key)%heapShards]
}

// load returns a copy of what a live key has, whose value stays valid.
func (s *heapStore) load(key []byte, now int64) (v heapValue, found bool) {
	h := s.shard(key)
	h.mu.RLock()
	defer h.mu.RUnlock()
	if at := h.values[string(key)]; at.live(now) {
		return *at, true
	}
	return heapValue{}, false
}

func (s *heapStore) get(dst, key []byte, now int64) (reply []byte, found bool) {
	v, found := s.load(key, now)
	if found {
		dst = appendBulk(dst, v.value)
	}
	return dst, found
}

func (s *heapStore) update(key []byte, room int, now int64, u updater) error {
	fresh := make([]byte, room)
	h := s.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.values[string(key)]
	var value []byte
	var deadline int64
	if old.live(now) {
		value, deadline = old.value, old.deadline
	}
	what, n, deadline := u.change(value, deadline, fresh)
	if what == replace {
		h.values[string(key)] = &heapValue{fresh[:n], deadline}
	}
	return nil
}

func (s *heapStore) remove(key []byte, now int64) bool {
	h := s.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	live := h.values[string(key)].live(now)
	delete(h.values, string(key))
	return live
}

func (s *heapStore) deadline(key []byte, now int64) (deadline int64, found bool) {
	v, found := s.load(key, now)
	return v.deadline, found
}

func (s *heapStore) setDeadline(key []byte, now, deadline int64, allowed func(old int64) bool) (done bool) {
	h := s.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.values[string(key)]
	if !v.live(now) || !allowed(v.deadline) {
		return false
	}
	if expired(deadline, now) {
		delete(h.values, string(key))
	} else {
		v.deadline = deadline
	}
	return true
}

// valueOverhead is about what a key takes beside its own bytes and those of its value: the slot of
// the map and the heapValue.
const valueOverhead = 16 + 8 + 32

func (s *heapStore) size(key []byte, now int64) (bytes int, found bool) {
	v, found := s.load(key, now)
	return valueOverhead + len(key) + len(v.value), found
}

// scan shows a whole shard at a time: Go's maps have no place to go on from.
func (s *heapStore) scan(cursor uint64, _ int, now int64, visit func(key []byte) bool) (next uint64, more bool) {
	if cursor >= heapShards {
		return 0, false
	}
	h := &s.shards[cursor]
	h.mu.RLock()
	defer h.mu.RUnlock()
	more = true
	for key, v := range h.values {
		if v.live(now) {
			more = visit([]byte(key)) && more
		}
	}
	next = (cursor + 1) % heapShards
	return next, more && next != 0
}

// expire looks at whole shards, as scan does.
func (s *heapStore) expire(n int, now int64) (seen, gone int) {
	for range heapShards {
		if seen >= n {
			break
		}
		h := &s.shards[s.sweep]
		s.sweep = (s.sweep + 1) % heapShards
		h.mu.Lock()
		for key, v := range h.values {
			if seen++; !v.live(now) {
				gone++
				delete(h.values, key)
			}
		}
		h.mu.Unlock()
	}
	return seen, gone
}

func (s *heapStore) len() (n int) {
	for i := range s.shards {
		h := &s.shards[i]
		h.mu.RLock()
		n += len(h.values)
		h.mu.RUnlock()
	}
	return n
}

func (s *heapStore) clear() {
	for i := range s.shards {
		h := &s.shards[i]
		h.mu.Lock()
		h.values = map[string]*heapValue{}
		h.mu.Unlock()
	}
}

func (s *heapStore) memory() memory { return goMemory() }

func (s *heapStore) setLimit(bytes int64) error {
	if bytes != 0 {
		return errNoLimit
	}
	return nil
}

func (s *heapStore) close() error { return nil }

var errNoLimit = errors.New("only -store slubd has a limit of its own; set GOMEMLIMIT for a store on the Go heap")
