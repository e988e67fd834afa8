package offmap

import (
	"iter"
	"math/bits"

	"github.com/slubd/slubd/rcu"
)

// Get returns a key's value. The caller is in a section of the map's Domain, and the value
// is good until that ends; nobody may write to it. It takes no lock.
func (m *Map) Get(key string) (value []byte, found bool) {
	hash := m.hash(key)
	order := orderOf(hash)
	n := m.start(hash & m.mask.Load())
	for n.order < order {
		n = n.next.Load()
	}
	for ; n.order == order; n = n.next.Load() {
		if e := n.entry(); string(e.key()) == key {
			return e.value(), true
		}
	}
	return nil, false
}

// Append appends a key's value to dst, and reports whether it was there. Any goroutine
// that isn't an online reader anyway may call it; the copy is the caller's.
func (m *Map) Append(dst []byte, key string) (extended []byte, found bool) {
	s := m.domain.Enter()
	value, found := m.Get(key)
	dst = append(dst, value...)
	s.Exit()
	return dst, found
}

// start returns the first node behind slot b, or behind the next one before it that is in
// the list. A slot is in the list when its next isn't nil; pairs with slotInList.
func (m *Map) start(b uint64) *node {
	for {
		if n := m.slot(b).next.Load(); n != nil {
			return n
		}
		b = parent(b)
	}
}

// slot returns a slot of the table, which may still be zero.
func (m *Map) slot(b uint64) *node {
	level := levelOf(b)
	if level == 0 {
		return slotAt(m.table[0].Load(), b)
	}
	return slotAt(m.table[level].Load(), b-base<<(level-1))
}

// levelOf returns the level that slot b is in.
func levelOf(b uint64) int { return bits.Len64(b >> baseBits) }

// parent is the slot that b splits from. Slot 0 has none, and is always in the list.
func parent(b uint64) uint64 { return b &^ (1 << (bits.Len64(b) - 1)) }

// Range goes over all entries. Those that are there all the time are seen once, others
// once or not at all. Key and value are good until the body ends.
//
// The caller owns r, an online reader of the map's Domain that holds nothing else that
// must last: it reports a quiescent state after each slot, so that going over millions
// of entries holds up nobody's grace period.
func (m *Map) Range(r *rcu.Reader) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		mask := m.mask.Load()
		for b := uint64(0); b <= mask; b++ {
			// The orders of entries whose hashes end in b's bits. If b isn't in the list,
			// others come before them.
			first := slotOrder(b)
			last := first + ^slotOrder(mask)
			for n := m.start(b); n.order <= last && n != m.tail; n = n.next.Load() {
				if n.order > first && n.isEntry() && !yield(n.entry().key(), n.entry().value()) {
					return
				}
			}
			r.Quiescent()
		}
	}
}
