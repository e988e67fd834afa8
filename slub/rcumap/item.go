package rcumap

import "sync/atomic"

// An Item is an entry as a reader finds it: Lookup and Scan return it, Update and DeleteIf show
// it. It is valid until the caller's section ends, or until the function returns that it was passed
// to. The zero Item stands for a key that is not there; of its methods only Found may be called.
type Item struct{ e *entry }

// Found reports whether the key is there.
func (i Item) Found() bool { return i.e != nil }

// Key returns the key itself, which must not be written to.
func (i Item) Key() []byte { return i.e.key() }

// Value returns the value itself. It must not be written to, except for that of an Update's fresh
// Item.
func (i Item) Value() []byte { return i.e.value() }

// Word returns a word of the entry that is the program's own: an expiry time, a bit that says that
// the entry was read lately. The map never reads it. It is zero in a new entry, and a Put or an
// Update that replaces the entry does not take it over. Readers may change it.
func (i Item) Word() *atomic.Uint64 { return &i.e.word }

// Truncate shortens the value of an Update's fresh Item to n bytes, of which it has no less.
func (i Item) Truncate(n int) { i.e.valueLen = uint32(len(i.e.value()[:n])) }

// Lookup is Get for a caller whose keys are bytes. It returns the zero Item if the key is not
// there. The caller must be in a section of the map's Domain. It costs what Get costs.
func (m *Map) Lookup(key []byte) Item { return Item{m.lookup(stringOf(key))} }

// Footprint returns the number of bytes of memory that an Item takes: its header, key and value,
// rounded up to their size class. Any goroutine that may use the Item.
func (m *Map) Footprint(i Item) int { return m.memory.Size(i.e.pointer()) }

// A Change is what an Update does.
type Change uint8

const (
	Keep    Change = iota // leave the key as it is
	Replace               // put the fresh Item in the old one's place, or where there was none
	Remove                // delete the key, if it is there
)

// Update changes a key depending on what is there: change is shown the old Item, which is the zero
// Item if there is none, and a fresh one with room for a value of the given number of bytes, not
// zeroed. It writes the fresh value, if it wants to Replace, and says what becomes of the key. No
// other writer comes between what change sees and what it decides.
//
// change runs under the lock of a stripe. It must not block, call the map, allocate from the map's
// arena or panic. It is called once, and not at all if Update returns an error. Any goroutine may
// call Update. It costs a Put. Errors: as Put; the key is then as it was.
func (m *Map) Update(key []byte, room int, change func(old, fresh Item) Change) error {
	name := stringOf(key)
	hash := m.hash(name)
	e, err := m.newEntry(orderOf(hash), name, room)
	if err != nil {
		return err
	}
	s := m.stripeOf(hash)
	s.mu.Lock()
	at, old := m.find(hash, name)
	what := change(Item{old}, Item{e})
	switch what {
	case Replace:
		s.link(at, old, e)
	case Remove:
		s.unlink(at, old)
	}
	entries := s.entries
	s.mu.Unlock()

	if what != Replace {
		m.memory.Free(e.pointer()) // no reader has seen it
	}
	if what != Keep {
		m.freeRCU(old)
	}
	if what == Replace {
		m.keepUp(entries)
	}
	return nil
}

// DeleteIf removes a key if it is there and condition agrees, and reports whether it has.
// condition runs under the lock of a stripe, with the rules for Update's function. Any goroutine
// may call it. It costs a Delete, allocates nothing and cannot fail.
func (m *Map) DeleteIf(key []byte, condition func(Item) bool) bool {
	name := stringOf(key)
	hash := m.hash(name)
	s := m.stripeOf(hash)
	s.mu.Lock()
	at, old := m.find(hash, name)
	if old != nil && !condition(Item{old}) {
		old = nil
	}
	s.unlink(at, old)
	s.mu.Unlock()
	m.freeRCU(old)
	return old != nil
}

// Edit shows a key's entry to edit and reports whether the key is there. It is for changes of the
// Word that must not be lost: no other writer replaces the entry before edit returns. edit runs
// under the lock of a stripe, with the rules for Update's function. Any goroutine may call Edit. It
// allocates nothing and cannot fail.
func (m *Map) Edit(key []byte, edit func(Item)) (found bool) {
	name := stringOf(key)
	hash := m.hash(name)
	s := m.stripeOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, e := m.find(hash, name)
	if e != nil {
		edit(Item{e})
	}
	return e != nil
}
