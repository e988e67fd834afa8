package rcumap

// Put stores copies of key and value. A reader finds the old value or the new one, never a mix.
// Any goroutine may call it. It costs one Malloc, the lock of a stripe, and FreeRCU of the entry
// that it replaces. Errors: ErrTooLong, slub.ErrNoMemory; either leaves the old value.
func (m *Map) Put(key string, value []byte) error {
	hash := m.hash(key)
	e, err := m.newEntry(orderOf(hash), key, len(value))
	if err != nil {
		return err
	}
	copy(e.value(), value)
	s := m.stripeOf(hash)
	s.mu.Lock()
	at, old := m.find(hash, key)
	s.link(at, old, e)
	entries := s.entries
	s.mu.Unlock()

	m.freeRCU(old)
	m.keepUp(entries)
	return nil
}

// Delete removes a key and reports whether it was there. Any goroutine may call it. It costs the
// lock of a stripe and a FreeRCU; it allocates nothing and cannot fail.
func (m *Map) Delete(key string) bool {
	hash := m.hash(key)
	s := m.stripeOf(hash)
	s.mu.Lock()
	at, old := m.find(hash, key)
	s.unlink(at, old)
	s.mu.Unlock()
	m.freeRCU(old)
	return old != nil
}

// link puts e behind at, in the place of old unless that is nil. Preconditions:
//   - the caller holds the stripe's lock; find has returned at and old.
func (s *stripe) link(at *node, old, e *entry) {
	if old != nil {
		e.next.Store(old.next.LoadProtected())
	} else {
		e.next.Store(at.next.LoadProtected())
		s.entries++
	}
	at.next.Store(&e.node)
}

// unlink takes e, which is behind at, out of the list; nil is ignored. Preconditions:
//   - the caller holds the stripe's lock; find has returned at and e.
func (s *stripe) unlink(at *node, e *entry) {
	if e != nil {
		at.next.Store(e.next.LoadProtected())
		s.entries--
	}
}

// freeRCU frees an entry that was taken out of the list, once no reader can hold it. nil is
// ignored.
func (m *Map) freeRCU(e *entry) {
	if e != nil {
		m.memory.FreeRCU(e.pointer())
	}
}

// find returns a key's entry and the node before it. If the key is not there, it returns nil and
// the node that a new entry would follow. Preconditions:
//   - the caller holds the stripe's lock.
func (m *Map) find(hash uint64, key string) (before *node, e *entry) {
	order := orderOf(hash)
	before = seek(m.slotInList(hash&m.mask.Load()), order)
	at := before
	for n := at.next.LoadProtected(); n.order == order; n = n.next.LoadProtected() {
		if e := n.entry(); string(e.key()) == key {
			return at, e
		}
		at = n
	}
	return before, nil
}

// seek returns the last node before an order. n is before it, too.
func seek(n *node, order uint64) *node {
	for {
		next := n.next.LoadProtected()
		if next.order >= order {
			return n
		}
		n = next
	}
}

// slotInList returns slot b, which it links first if needed. Preconditions:
//   - the caller holds the stripe's lock; all ancestors of b have the same stripe.
func (m *Map) slotInList(b uint64) *node {
	slot := m.slot(b)
	if slot.next.LoadProtected() != nil {
		return slot
	}
	slot.order = slotOrder(b)
	at := seek(m.slotInList(parent(b)), slot.order)
	// From the first store on, readers start at slot; from the second on, they also reach it
	// through the list. The lock keeps writers away between the two. Pairs with start.
	slot.next.Store(at.next.LoadProtected())
	at.next.Store(slot)
	return slot
}

func (m *Map) stripeOf(hash uint64) *stripe { return &m.stripe[hash%stripes].stripe }
