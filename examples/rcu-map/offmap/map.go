// Package offmap is a hash map from strings to bytes whose entries, and whose table, lie
// outside the Go heap. Looking up takes no lock and writes nothing; writers lock one of
// 256 stripes. It is an example of what slub and rcu are for, made to be read.
//
// # Data flow
//
//	Put    -> slub.Buckets (entry) -> list, under the stripe's lock; what it replaces -> FreeRCU
//	Get    -> table -> list -> the caller's section, until it ends
//	Append -> Get, in a section of its own -> a copy
//	Delete -> list, under the stripe's lock -> FreeRCU
//	grow   -> slub.Buckets (zeroed slots) -> table; a few slots at a time -> list
//
// # The list and the table
//
// All entries are in one linked list, sorted by the reversed bits of their hashes
// (split-ordered lists, Shalev and Shavit, JACM 2006). The table's slots are nodes of that
// list, too: slot b stands before the entries whose hashes end in the bits of b. To
// double the table is to add slots in between; no entry ever moves, so that a reader never
// finds two tables, or an entry at two places:
//
//	slots 4 to 7 are new:   0 ── e e ── 4 ── e ── 2 ── e ── 6 ── e e ── 1 ── e ── 5 ...
//
// A slot that is still zero isn't in the list. Until a writer puts it there, its entries
// are found by the slot it splits from, which has the highest bit less.
//
// # Order of stores
//
// A node's content is written before the atomic store that links it, and never changes
// afterwards, but for next. Readers load next atomically, so what they reach is whole.
// A node taken out keeps its next until its grace period is over, and every node that
// this leads to was in the list after the reader's section began, so that it is as safe.
//
// # Locks
//
// stripe.mu, of which nobody holds two; Map.growth, which is only tried and taken
// under no other.
package offmap

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// ErrTooLong reports a key or value of 4 GiB or more.
var ErrTooLong = errors.New("offmap: key or value is too long")

const (
	// stripes is the number of locks: so many that two writers rarely meet.
	stripes = 256
	// baseBits is the logarithm of the table's size in the beginning. It is no less than
	// that of stripes, so that a slot and what splits from it have the same stripe.
	baseBits = 10
	base     = 1 << baseBits
	// levels bounds the table to 2^33 slots, for which there is no memory.
	levels = 24
	// slack is how many entries more than its share of the slots a stripe has before the
	// table grows: stripes don't fill alike.
	slack = 8
)

// Config describes a Map. The zero value is good.
type Config struct {
	// Name is what the names of its caches begin with; empty means "offmap".
	Name string
	// Arena is where memory comes from; nil means arena.Default.
	Arena *arena.Arena
	// Domain is whose readers look up; nil means slub.DefaultDomain.
	Domain *rcu.Domain
}

// Map is the map. Put, Delete, Append and Len may be called by any goroutine; Get
// and Range say who may call them.
type Map struct {
	domain *rcu.Domain
	memory *slub.Buckets
	seed   maphash.Seed

	mask   atomic.Uint64             // slots in use, less one; rises when their level is there
	table  [levels]rcu.Pointer[node] // level 0 has base slots and tail; level n > 0 those from base<<(n-1) on
	tail   *node                     // end of the list, of the greatest order
	_      [128]byte                 // readers share what is above, writers write below
	split  atomic.Uint64             // slots before this one are in the list
	growth sync.Mutex                // held by who adds a level
	stripe [stripes]paddedStripe     // by the last bits of the hash
}

// stripe guards the entries whose hashes end in the same bits, and the slots before them.
type stripe struct {
	mu      sync.Mutex
	entries int
}

// paddedStripe keeps the locks of different CPUs apart.
type paddedStripe struct {
	stripe
	_ [128 - 16]byte
}

// New makes an empty map. Errors: as slub.NewBuckets.
func New(cfg Config) (*Map, error) {
	if cfg.Name == "" {
		cfg.Name = "offmap"
	}
	if cfg.Domain == nil {
		cfg.Domain = slub.DefaultDomain()
	}
	memory, err := slub.NewBuckets(cfg.Arena, slub.BucketsConfig{Name: cfg.Name, Domain: cfg.Domain})
	if err != nil {
		return nil, err
	}
	m := &Map{domain: cfg.Domain, memory: memory, seed: maphash.MakeSeed()}
	slots, err := memory.MallocZero((base + 1) * nodeSize)
	if err != nil {
		return nil, errors.Join(err, memory.Close())
	}
	m.table[0].Store((*node)(slots))
	m.tail = slotAt((*node)(slots), base)
	m.tail.order = math.MaxUint64
	slotAt((*node)(slots), 0).next.Store(m.tail)
	for b := uint64(1); b < base; b++ {
		m.slotInList(b)
	}
	m.mask.Store(base - 1)
	m.split.Store(base)
	return m, nil
}

// Domain returns whose readers may call Get.
func (m *Map) Domain() *rcu.Domain { return m.domain }

// Len returns the number of entries: of each stripe at some moment during the call.
func (m *Map) Len() (n int) {
	for i := range m.stripe {
		s := &m.stripe[i]
		s.mu.Lock()
		n += s.entries
		s.mu.Unlock()
	}
	return n
}

// Slots returns the size of the table.
func (m *Map) Slots() int { return int(m.mask.Load()) + 1 }

// Close frees everything; it waits for the grace periods of what was replaced or deleted.
// No other method may be running, nor be called later, and nobody may hold what Get
// returned. The error says what was lost, if anything was. Closing nil does nothing.
func (m *Map) Close() error {
	if m == nil {
		return nil
	}
	for n := m.slot(0); n != m.tail; {
		next := n.next.Load()
		if n.isEntry() {
			m.memory.Free(n.pointer())
		}
		n = next
	}
	for i := range m.table {
		m.memory.Free(m.table[i].Load().pointer()) // nil is ignored
	}
	if err := m.memory.Close(); err != nil {
		return fmt.Errorf("offmap: %w", err)
	}
	return nil
}

// hash returns a key's hash. Its last bits choose the slot and the stripe.
func (m *Map) hash(key string) uint64 { return maphash.String(m.seed, key) }

// orderOf is an entry's place in the list: odd, as slots' are even, and less than tail's.
func orderOf(hash uint64) uint64 { return bits.Reverse64(hash)&^2 | 1 }

// slotOrder is slot b's place: before all entries whose hashes end in b's bits.
func slotOrder(b uint64) uint64 { return bits.Reverse64(b) }
