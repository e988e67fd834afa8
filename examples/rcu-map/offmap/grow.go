package offmap

// perPut is how many slots a Put brings into the list while the table grows. One would do
// for the growth to end before the next one is due, since that takes as many new entries
// as there are new slots.
const perPut = 2

// keepUp makes the table grow with its entries; the caller has just put one into a stripe
// that now holds so many, and holds no lock.
func (m *Map) keepUp(entries int) {
	slots := m.mask.Load() + 1
	if uint64(entries) > slots/stripes+slack {
		m.grow(slots)
	}
	if next := m.split.Load(); next < slots {
		m.bringIn(next, min(next+perPut, slots))
	}
}

// grow doubles a table of that many slots, unless somebody is at it or was faster. Without
// memory it stays as it is, and lists get longer.
func (m *Map) grow(slots uint64) {
	if !m.growth.TryLock() {
		return
	}
	defer m.growth.Unlock()
	level := levelOf(slots)
	if m.mask.Load()+1 != slots || level == levels {
		return
	}
	p, err := m.memory.MallocZero(int(slots) * nodeSize)
	if err != nil {
		return
	}
	m.table[level].Store((*node)(p))
	m.mask.Store(2*slots - 1) // after the level: whoever sees this mask finds the slots
}

// bringIn puts slots from first to before last into the list, if nobody else has begun.
func (m *Map) bringIn(first, last uint64) {
	if !m.split.CompareAndSwap(first, last) {
		return
	}
	for b := first; b < last; b++ {
		s := m.stripeOf(b)
		s.mu.Lock()
		m.slotInList(b)
		s.mu.Unlock()
	}
}
