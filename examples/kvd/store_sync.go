package main

import (
	"hash/maphash"
	"runtime/metrics"
	"sync"
)

// syncStore is a sync.Map: reads take no lock, as in slubdStore, and the garbage collector sees
// every key and value, as in heapStore.
type syncStore struct {
	values sync.Map // of string to *heapValue, which never changes
	seed   maphash.Seed
	// locks are held by writers, so that none comes between what an update sees and decides.
	locks [256]sync.Mutex
	sweep int // entries that expire has seen of this round
}

func newSyncStore() *syncStore { return &syncStore{seed: maphash.MakeSeed()} }

func (s *syncStore) lock(key []byte) *sync.Mutex {
	mu := &s.locks[maphash.Bytes(s.seed, key)%uint64(len(s.locks))]
	mu.Lock()
	return mu
}

// load returns what a live key has, or nil.
func (s *syncStore) load(key []byte, now int64) *heapValue {
	if v, found := s.values.Load(string(key)); found && v.(*heapValue).live(now) {
		return v.(*heapValue)
	}
	return nil
}

func (s *syncStore) get(dst, key []byte, now int64) (reply []byte, found bool) {
	v := s.load(key, now)
	if v == nil {
		return dst, false
	}
	return appendBulk(dst, v.value), true
}

func (s *syncStore) update(key []byte, room int, now int64, u updater) error {
	fresh := make([]byte, room)
	defer s.lock(key).Unlock()
	var value []byte
	var deadline int64
	if old := s.load(key, now); old != nil {
		value, deadline = old.value, old.deadline
	}
	what, n, deadline := u.change(value, deadline, fresh)
	if what == replace {
		s.values.Store(string(key), &heapValue{fresh[:n], deadline})
	}
	return nil
}

func (s *syncStore) remove(key []byte, now int64) bool {
	defer s.lock(key).Unlock()
	live := s.load(key, now) != nil
	s.values.Delete(string(key))
	return live
}

func (s *syncStore) deadline(key []byte, now int64) (deadline int64, found bool) {
	v := s.load(key, now)
	if v == nil {
		return 0, false
	}
	return v.deadline, true
}

func (s *syncStore) setDeadline(key []byte, now, deadline int64, allowed func(old int64) bool) (done bool) {
	defer s.lock(key).Unlock()
	v := s.load(key, now)
	if v == nil || !allowed(v.deadline) {
		return false
	}
	if expired(deadline, now) {
		s.values.Delete(string(key))
	} else {
		s.values.Store(string(key), &heapValue{v.value, deadline})
	}
	return true
}

func (s *syncStore) size(key []byte, now int64) (bytes int, found bool) {
	v := s.load(key, now)
	if v == nil {
		return 0, false
	}
	return valueOverhead + len(key) + len(v.value), true
}

// scan shows everything at once: a sync.Map has no place to go on from.
func (s *syncStore) scan(_ uint64, _ int, now int64, visit func(key []byte) bool) (next uint64, more bool) {
	s.values.Range(func(key, v any) bool {
		if v.(*heapValue).live(now) {
			visit([]byte(key.(string)))
		}
		return true
	})
	return 0, false
}

// expire has to pass what it has seen before: a sync.Map has no place to go on from.
func (s *syncStore) expire(n int, now int64) (seen, gone int) {
	i := 0
	s.values.Range(func(key, v any) bool {
		if i++; i <= s.sweep {
			return true
		}
		if seen++; !v.(*heapValue).live(now) && s.values.CompareAndDelete(key, v) {
			gone++
		}
		return seen < n
	})
	if s.sweep += seen - gone; seen < n {
		s.sweep = 0 // this was the end
	}
	return seen, gone
}

func (s *syncStore) len() (n int) {
	s.values.Range(func(_, _ any) bool {
		n++
		return true
	})
	return n
}

func (s *syncStore) clear()         { s.values.Clear() }
func (s *syncStore) memory() memory { return goMemory() }
func (s *syncStore) close() error   { return nil }

func (s *syncStore) setLimit(bytes int64) error {
	if bytes != 0 {
		return errNoLimit
	}
	return nil
}

// goMemory says what the Go heap takes, the garbage included that is not collected yet.
func goMemory() memory {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	n := int64(sample[0].Value.Uint64())
	return memory{used: n, data: n}
}
