package main

import (
	"errors"
	"hash/maphash"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// Limits of a session, in bytes. With its bookkeeping it fills 1 KiB.
const (
	maxKey   = 64
	maxValue = 1024 - maxKey - 16
)

// ways is how many sessions share a bucket. A ninth key takes the place of another,
// as in a processor's cache: one that has expired if there is any.
const ways = 8

// session lies outside the Go heap and therefore holds no Go pointers. It never
// changes between the store that publishes it and its grace period.
type session struct {
	expires  int64 // Unix time in ns
	keyLen   uint16
	valueLen uint16
	_        uint32
	key      [maxKey]byte
	value    [maxValue]byte
}

func (s *session) is(key string) bool { return string(s.key[:s.keyLen]) == key }

// bucket is the sessions whose keys have the same hash. Readers load slots without
// the lock; whoever stores to one holds it.
type bucket struct {
	mu    sync.Mutex
	slots [ways]atomic.Pointer[session]
	next  uint // slot to evict; under mu
}

// store is the cache. All methods but close may be called by any goroutine.
type store struct {
	arena    *arena.Arena
	sessions *slub.Typed[session]
	domain   rcu.Domain
	readers  chan *rcu.Reader // registered and offline; whoever takes one owns it
	buckets  []bucket
	seed     maphash.Seed
}

// newStore makes a store of that many buckets, which holds at most limit bytes.
func newStore(buckets int, limit uint64) (*store, error) {
	a, err := arena.New(arena.Config{Name: "sessions", Limit: limit})
	if err != nil {
		return nil, err
	}
	s := &store{arena: a, buckets: make([]bucket, buckets), seed: maphash.MakeSeed()}
	s.sessions, err = slub.NewTyped[session](a, slub.Config{Name: "session", Domain: &s.domain})
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	// Looking up takes well under a microsecond, so that more readers than CPUs
	// would only wait for each other.
	s.readers = make(chan *rcu.Reader, runtime.GOMAXPROCS(0))
	for range cap(s.readers) {
		r := s.domain.Register("lookup")
		r.Offline()
		s.readers <- r
	}
	return s, nil
}

func (s *store) bucketOf(key string) *bucket {
	return &s.buckets[maphash.String(s.seed, key)%uint64(len(s.buckets))]
}

// get appends the key's value to dst. The copy is what leaves the read-side
// section: after Offline the session may be anybody's.
func (s *store) get(dst []byte, key string) (value []byte, found bool) {
	r := <-s.readers // may block, hence before Online
	r.Online()
	now := time.Now().UnixNano()
	b := s.bucketOf(key)
	for i := range b.slots {
		if e := b.slots[i].Load(); e != nil && e.is(key) && e.expires > now {
			dst, found = append(dst, e.value[:e.valueLen]...), true
			break
		}
	}
	r.Offline()
	s.readers <- r
	return dst, found
}

// put stores a copy of value, which has at most maxValue bytes, for ttl. The key has
// at most maxKey. It returns an error wrapping slub.ErrNoMemory at the limit.
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
	s.retire(old)
	return nil
}

// place finds the slot for a key: its own, else a free or expired one, else the next
// to evict. The caller holds mu, and so nobody retires what place looks at.
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

// remove takes a key out and reports whether it was there.
func (s *store) remove(key string) bool {
	b := s.bucketOf(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.slots {
		if e := b.slots[i].Load(); e != nil && e.is(key) {
			b.slots[i].Store(nil)
			s.retire(e)
			return true
		}
	}
	return false
}

// retire frees a session that no slot holds any more, once no reader does either.
func (s *store) retire(e *session) { s.sessions.FreeRCU(e) }

// close frees everything, and Typed.Close waits for the grace periods. No other method
// is running or called afterwards. The error says which sessions were lost, if any were.
func (s *store) close() error {
	for range cap(s.readers) {
		r := <-s.readers
		r.Close()
	}
	for i := range s.buckets {
		for j := range s.buckets[i].slots {
			s.retire(s.buckets[i].slots[j].Swap(nil))
		}
	}
	return errors.Join(s.sessions.Close(), s.arena.Close())
}
