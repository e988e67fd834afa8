package rcumap

import (
	"iter"
	"math/bits"

	"github.com/slubd/slubd/rcu"
)

// Get returns a key's value itself, not a copy. The caller must be in a read-side section of the
// map's Domain: an online Reader, or between Enter and Exit. The value is valid until the section
// ends (the Reader's next Quiescent or Offline, or Exit) and must not be written to.
//
// It takes no lock, writes nothing and allocates nothing; it costs a hash of the key and two or
// three cache misses in a large map.
func (m *Map) Get(key string) (value []byte, found bool) {
	if e := m.lookup(key); e != nil {
		return e.value(), true
	}
	return nil, false
}

// lookup returns a key's entry, or nil. Preconditions:
//   - the caller is in a section of the Domain.
func (m *Map) lookup(key string) *entry {
	m.domain.AssertReading()
	hash := m.hash(key)
	order := orderOf(hash)
	n := m.start(hash & m.mask.Load())
	for n.order < order {
		n = n.next.LoadProtected()
	}
	for ; n.order == order; n = n.next.LoadProtected() {
		if e := n.entry(); string(e.key()) == key {
			return e
		}
	}
	return nil
}

// Append appends a copy of a key's value to dst and reports whether the key was there. Any
// goroutine may call it. It costs a Get, a Domain.Enter and Exit, and the copy; where the caller
// is in a section anyway, Get alone is cheaper.
func (m *Map) Append(dst []byte, key string) (extended []byte, found bool) {
	s := m.domain.Enter()
	value, found := m.Get(key)
	dst = append(dst, value...)
	s.Exit()
	return dst, found
}

// start returns the first node behind slot b or, while b is not in the list, behind its nearest
// ancestor that is. A slot is in the list once its next is not nil. Pairs with slotInList.
func (m *Map) start(b uint64) *node {
	for {
		if n := m.slot(b).next.LoadProtected(); n != nil {
			return n
		}
		b = parent(b)
	}
}

// slot returns slot b of the table, which may still be zero.
func (m *Map) slot(b uint64) *node {
	level := levelOf(b)
	if level == 0 {
		return slotAt(m.table[0].LoadProtected(), b)
	}
	return slotAt(m.table[level].LoadProtected(), b-base<<(level-1))
}

// levelOf returns the level that slot b is in.
func levelOf(b uint64) int { return bits.Len64(b >> baseBits) }

// parent is the slot that b splits from. Slot 0 has no parent and is always in the list.
func parent(b uint64) uint64 { return b &^ (1 << (bits.Len64(b) - 1)) }

// Range iterates over all entries, in no particular order and without a lock. Entries that are in
// the map all the time are seen once, others once or not at all. Key and value are valid until
// the loop's body ends and must not be written to. The body may call Put and Delete.
//
// The caller owns r, an online Reader of the map's Domain. Range reports a quiescent state on it
// after each slot, so that a loop over millions of entries delays no grace period. The caller
// must therefore hold no other reference that r's section protects.
func (m *Map) Range(r *rcu.Reader) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		m.domain.AssertReading()
		mask := m.mask.Load()
		for b := uint64(0); b <= mask; b++ {
			// first to last are the orders of entries whose hashes end in b's bits. While b
			// is not in the list, start may return nodes before them.
			first := slotOrder(b)
			last := first + ^slotOrder(mask)
			for n := m.start(b); n.order <= last && n != m.tail; n = n.next.LoadProtected() {
				if n.order > first && n.isEntry() && !yield(n.entry().key(), n.entry().value()) {
					return
				}
			}
			r.Quiescent()
		}
	}
}
