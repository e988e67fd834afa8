package offmap

// Put stores a copy of value. Readers find the old value or the new one, whole. Errors:
// ErrTooLong; slub.ErrNoMemory, which leaves the old value.
func (m *Map) Put(key string, value []byte) error {
	hash := m.hash(key)
	e, err := m.newEntry(orderOf(hash), key, value)
	if err != nil {
		return err
	}
	s := m.stripeOf(hash)
	s.mu.Lock()
	at, old := m.find(hash, key)
	if old != nil {
		e.next.Store(old.next.Load())
	} else {
		e.next.Store(at.next.Load())
		s.entries++
	}
	at.next.Store(&e.node)
	entries := s.entries
	s.mu.Unlock()

	m.retire(old)
	m.keepUp(entries)
	return nil
}

// Delete takes a key out and reports whether it was there.
func (m *Map) Delete(key string) bool {
	hash := m.hash(key)
	s := m.stripeOf(hash)
	s.mu.Lock()
	at, old := m.find(hash, key)
	if old != nil {
		at.next.Store(old.next.Load())
		s.entries--
	}
	s.mu.Unlock()
	m.retire(old)
	return old != nil
}

// retire frees an entry that is in the list no more, when no reader can hold it. nil is
// ignored.
func (m *Map) retire(e *entry) {
	if e != nil {
		m.memory.FreeRCU(e.pointer())
	}
}

// find returns a key's entry and the node before it; or nil, and the node that it would
// come after. Preconditions:
//   - the caller holds the stripe's lock.
func (m *Map) find(hash uint64, key string) (before *node, e *entry) {
	order := orderOf(hash)
	before = seek(m.slotInList(hash&m.mask.Load()), order)
	at := before
	for n := at.next.Load(); n.order == order; n = n.next.Load() {
		if e := n.entry(); string(e.key()) == key {
			return at, e
		}
		at = n
	}
	return before, nil
}

// seek returns the last node before an order, from one that is before it.
func seek(n *node, order uint64) *node {
	for {
		next := n.next.Load()
		if next.order >= order {
			return n
		}
		n = next
	}
}

// slotInList returns slot b, which it puts into the list if it isn't there. Preconditions:
//   - the caller holds the stripe's lock, which is that of all slots b splits from.
func (m *Map) slotInList(b uint64) *node {
	slot := m.slot(b)
	if slot.next.Load() != nil {
		return slot
	}
	slot.order = slotOrder(b)
	at := seek(m.slotInList(parent(b)), slot.order)
	// From the first store on readers begin at slot, from the second on they come by. In
	// between nothing is put in or taken out here. Pairs with start.
	slot.next.Store(at.next.Load())
	at.next.Store(slot)
	return slot
}

func (m *Map) stripeOf(hash uint64) *stripe { return &m.stripe[hash%stripes].stripe }
