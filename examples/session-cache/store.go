package main

import (
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// Limits of a session in bytes, chosen so that a whole session takes 1 KiB.
const (
	maxKey   = 64
	maxValue = 1024 - maxKey - 16
)

// ways is the number of sessions in a bucket. A ninth key evicts another one, as in a processor's
// cache, and preferably one that has expired.
const ways = 8

// session lies outside the Go heap and therefore holds no Go pointers. It does not change from the
// store that publishes it until the end of its grace period.
type session struct {
	expires  int64 // Unix time in ns
	keyLen   uint16
	valueLen uint16
	_        uint32
	key      [maxKey]byte
	value    [maxValue]byte
}

func (s *session) is(key string) bool { return string(s.key[:s.keyLen]) == key }

// bucket holds the sessions whose keys have the same hash. Readers load slots without the lock;
// writers store to them under it.
type bucket struct {
	mu    sync.Mutex
	slots [ways]atomic.Pointer[session]
	next  uint // slot to evict next; guarded by mu
}

// store is the cache. Any goroutine may call its methods, except close.
type store struct {
	arena    *arena.Arena
	sessions *slub.Typed[session]
	domain   rcu.Domain
	buckets  []bucket
	seed     maphash.Seed
}

// newStore makes a store with the given number of buckets and a limit in bytes.
func newStore(buckets int, limit int64) (*store, error) {
	a, err := arena.New(arena.Config{Name: "sessions", Limit: limit})
	if err != nil {
		return nil, err
	}
	s := &store{arena: a, buckets: make([]bucket, buckets), seed: maphash.MakeSeed()}
	s.sessions, err = slub.NewTyped[session](a, slub.Config{Name: "session", Domain: &s.domain})
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return s, nil
}

func (s *store) bucketOf(key string) *bucket {
	return &s.buckets[maphash.String(s.seed, key)%uint64(len(s.buckets))]
}

// get appends a copy of the key's value to dst. The session itself must not be used after Exit: it
// may be freed and reused from then on.
func (s *store) get(dst []byte, key string) (value []byte, found bool) {
	now := time.Now().UnixNano()
	b := s.bucketOf(key)
	section := s.domain.Enter()
	for i := range b.slots {
		if e := b.slots[i].Load(); e != nil && e.is(key) && e.expires > now {
			dst, found = append(dst, e.value[:e.valueLen]...), true
			break
		}
	}
	section.Exit()
	return dst, found
}

// put stores a copy of value for the duration ttl. The key has at most maxKey bytes, the value at
// most maxValue. At the memory limit it returns an error that wraps slub.ErrNoMemory.
func (s *store) put(key string, value []byte, ttl time.Duration) error {
	e, err := s.sessions.Alloc()
	if err != nil {
		return err
	}
	now := time.Now()
	e.expires = now.Add(ttl).UnixNano()
	e.keyLen, e.valueLen = uint16(copy(e.key[:], key)), uint16(copy(e.value[:], value))
	b := s.bucketOf(key)
	b.mu.Lock()
	old := b.place(key, now.UnixNano()).Swap(e)
	b.mu.Unlock()
	s.freeLater(old)
	return nil
}

// place finds the slot for a key: its own, else a free or expired one, else the next to evict. The
// caller holds mu, so no session of the bucket is freed meanwhile.
func (b *bucket) place(key string, now int64) *atomic.Pointer[session] {
	var spare *atomic.Pointer[session]
	for i := range b.slots {
		switch e := b.slots[i].Load(); {
		case e != nil && e.is(key):
			return &b.slots[i]
		case e == nil || e.expires <= now:
			spare = &b.slots[i]
		}
	}
	if spare == nil {
		spare = &b.slots[b.next%ways]
		b.next++
	}
	return spare
}

// remove deletes a key and reports whether it was there.
func (s *store) remove(key string) bool {
	b := s.bucketOf(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.slots {
		if e := b.slots[i].Load(); e != nil && e.is(key) {
			b.slots[i].Store(nil)
			s.freeLater(e)
			return true
		}
	}
	return false
}

// freeLater frees a session that no slot holds any more, once no reader can hold it either.
func (s *store) freeLater(e *session) { s.sessions.FreeRCU(e) }

// close frees everything; Typed.Close waits for the grace periods. No other method may be running,
// or be called later. The error says which sessions were lost, if any were.
func (s *store) close() error {
	for i := range s.buckets {
		for j := range s.buckets[i].slots {
			s.freeLater(s.buckets[i].slots[j].Swap(nil))
		}
	}
	return errors.Join(s.sessions.Close(), s.arena.Close())
}
