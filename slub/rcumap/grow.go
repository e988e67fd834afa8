package rcumap

// perPut is how many slots a Put links while the table grows. One would be enough to finish before
// the next growth is due, which takes as many new entries as there are new slots.
const perPut = 2

// keepUp makes the table grow with its entries. The caller has just put an entry into a stripe,
// which now has the given number of them, and holds no lock.
func (m *Map) keepUp(entries int) {
	slots := m.mask.Load() + 1
	if uint64(entries) > slots/stripes+slack {
		m.grow(slots)
	}
	if next := m.split.Load(); next < slots {
		m.linkSlots(next, min(next+perPut, slots))
	}
}

// grow doubles a table with the given number of slots, unless another goroutine is doing so or
// has done so. If there is no memory, the table stays as it is and lookups get slower. It does not
// even ask where the new slots would take half of what the arena has left: a cache at its limit
// would have to give up entries for them, at every Put.
func (m *Map) grow(slots uint64) {
	if !m.growth.TryLock() {
		return
	}
	defer m.growth.Unlock()
	level := levelOf(slots)
	if m.mask.Load()+1 != slots || level == levels {
		return
	}
	if a := m.memory.Arena(); a.Limit()-a.InUse() < 2*int64(slots)*int64(nodeSize) {
		return
	}
	p, err := m.memory.MallocZero(int(slots) * nodeSize)
	if err != nil {
		return
	}
	m.table[level].Store((*node)(p))
	m.mask.Store(2*slots - 1) // after the level, so that a reader of this mask finds the slots
}

// linkSlots links the slots from first to before last, unless another goroutine has started to.
func (m *Map) linkSlots(first, last uint64) {
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
