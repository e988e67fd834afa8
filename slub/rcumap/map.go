package rcumap

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// ErrTooLong reports a key or a value of 4 GiB or more.
var ErrTooLong = errors.New("rcumap: key or value is too long")

const (
	// stripes is the number of locks, enough that two writers rarely meet.
	stripes = 256
	// baseBits is the logarithm of the table's first size. It is at least that of stripes, so
	// that a slot and its parent have the same stripe.
	baseBits = 10
	base     = 1 << baseBits
	// levels bounds the table to 2^33 slots, which is more than memory has room for.
	levels = 24
	// slack is how many entries above its share of the slots a stripe may have before the table
	// grows. Stripes do not fill evenly.
	slack = 8
)

// Config describes a Map. The zero value is valid.
type Config struct {
	// Name is the prefix of the names of the map's caches; empty means "rcumap".
	Name string
	// Arena provides the memory; nil means arena.Default.
	Arena *arena.Arena
	// Domain is the RCU domain in whose sections the map is read; nil means
	// slub.DefaultDomain.
	Domain *rcu.Domain
	// ProfileRate is the mean number of bytes from one sample of the allocation profile to the
	// next, as in slub.BucketsConfig.
	ProfileRate int64
	// GuardRate is the mean number of bytes from one guarded entry to the next, and Hardened makes
	// the map's caches find double frees and writes after a free, as in slub.BucketsConfig. A
	// goroutine that uses an entry after its section ends the process if the entry was guarded and
	// is free. With Hardened a write to a free entry is reported.
	GuardRate int64
	Hardened  int
	// Hooks are called for entries and tables, as in slub.BucketsConfig.
	Hooks hooks.Hooks
}

// Map is a hash map. Any goroutine may call Put, Update, Edit, Delete, DeleteIf, Sweep, Append, Len
// and Slots; Get, Lookup, Scan and Range need a read-side section of Domain. Make one with New.
type Map struct {
	domain *rcu.Domain
	memory *slub.Buckets
	seed   maphash.Seed

	mask atomic.Uint64 // slots in use, less one; raised after their level is stored
	// table holds the slots. Level 0 has base slots and tail, level n > 0 those from base<<(n-1).
	table  [levels]rcu.Pointer[node]
	tail   *node                 // end of the list, of the greatest order
	_      [128]byte             // readers share the fields above, writers write those below
	split  atomic.Uint64         // every slot before this one is in the list
	growth sync.Mutex            // held while a level is added
	stripe [stripes]paddedStripe // by the last bits of the hash
}

// stripe guards the entries whose hashes end in the same bits, and the slots before them.
type stripe struct {
	mu      sync.Mutex
	entries int
}

// paddedStripe keeps the locks of different CPUs on different cache lines.
type paddedStripe struct {
	stripe
	_ [128 - 16]byte
}

// New makes an empty map with a table of 1024 slots, 16 bytes each. The table doubles as entries
// are added and does not shrink. Errors: as slub.NewBuckets and Buckets.MallocZero.
func New(cfg Config) (*Map, error) {
	if cfg.Name == "" {
		cfg.Name = "rcumap"
	}
	if cfg.Domain == nil {
		cfg.Domain = slub.DefaultDomain()
	}
	memory, err := slub.NewBuckets(cfg.Arena, slub.BucketsConfig{
		Name: cfg.Name, Domain: cfg.Domain, Hooks: cfg.Hooks,
		ProfileRate: cfg.ProfileRate, GuardRate: cfg.GuardRate, Hardened: cfg.Hardened,
	})
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

// Domain returns the domain in whose sections Get, Lookup, Scan and Range may be called.
func (m *Map) Domain() *rcu.Domain { return m.domain }

// Memory returns the Buckets that entries and table come from, for statistics, Barrier and Shrink.
// The caller must not close them.
func (m *Map) Memory() *slub.Buckets { return m.memory }

// Len returns the number of entries. It locks the stripes one after the other, so with writers
// running it is a sum over slightly different moments.
func (m *Map) Len() (n int) {
	for i := range m.stripe {
		s := &m.stripe[i]
		s.mu.Lock()
		n += s.entries
		s.mu.Unlock()
	}
	return n
}

// Slots returns the number of slots of the table.
func (m *Map) Slots() int { return int(m.mask.Load()) + 1 }

// Close frees everything. It blocks until the grace periods of replaced and deleted entries are
// over, so the caller must not be in a section. No other method may be running or be called
// later, and values that Get returned must not be used any more. The error names what was lost,
// if anything was. Closing nil does nothing.
func (m *Map) Close() error {
	if m == nil {
		return nil
	}
	for n := m.slot(0); n != m.tail; {
		next := n.next.LoadProtected()
		if n.isEntry() {
			m.memory.Free(n.pointer())
		}
		n = next
	}
	for i := range m.table {
		m.memory.Free(m.table[i].LoadProtected().pointer()) // nil is ignored
	}
	if err := m.memory.Close(); err != nil {
		return fmt.Errorf("rcumap: %w", err)
	}
	return nil
}

// hash returns a key's hash. Its last bits choose the slot and the stripe.
func (m *Map) hash(key string) uint64 { return maphash.String(m.seed, key) }

// orderOf is an entry's place in the list: odd, since the orders of slots are even, and less
// than tail's.
func orderOf(hash uint64) uint64 { return bits.Reverse64(hash)&^2 | 1 }

// slotOrder is slot b's place in the list: before all entries whose hashes end in b's bits.
func slotOrder(b uint64) uint64 { return bits.Reverse64(b) }
