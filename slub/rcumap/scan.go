package rcumap

import "math/bits"

// A Cursor is a place between two entries of the map's list. The zero Cursor is the list's
// beginning, and its end. Cursors are valid as long as the map: whatever is put, deleted or grown,
// an entry's place is a function of its key. A Cursor that no Scan has returned is a place, too.
type Cursor uint64

// Scan shows the entries behind a cursor to visit, n of them or a few more, and returns the cursor
// of the next call; the zero Cursor if there are no more:
//
//	for c := m.Scan(0, 10, visit); c != 0; c = m.Scan(c, 10, visit) {
//	}
//
// A sequence of calls from one zero Cursor to the next shows each entry exactly once that is there
// all the time, and entries that come or go meanwhile once or not at all. A key whose value is
// replaced is shown with one of its values. The order is that of the keys' hashes, which are
// seeded, so a Scan from a random Cursor is a random sample.
//
// The caller must be in a section of the map's Domain, which may end between two calls. visit may
// call any method but Close, and what it sees is valid until the section ends. It costs n cache
// misses, and a few more where the table has fewer slots than entries.
func (m *Map) Scan(c Cursor, n int, visit func(Item)) Cursor {
	m.domain.AssertReading()
	after := uint64(c)
	at := m.start(bits.Reverse64(after) & m.mask.Load())
	for at.order <= after && at != m.tail && after != 0 {
		at = at.next.LoadProtected()
	}
	// Entries of one order are shown together, because no cursor leads between them.
	for ; at != m.tail && (n > 0 || at.order == after); at = at.next.LoadProtected() {
		if at.isEntry() {
			visit(Item{at.entry()})
			n--
			after = at.order
		}
	}
	if at == m.tail {
		return 0
	}
	return Cursor(after)
}

// Sweep is a Scan that deletes: it shows the entries behind a cursor to condition, n of them or a
// few more, and deletes those that condition agrees to. It returns the cursor of the next call, how
// many entries it has deleted, and the memory that they took. It is how caches expire and evict.
//
// condition runs under the lock of a stripe, with the rules for Update's function. The caller must
// not be in a section: Sweep has one of its own, and what it has deleted goes to FreeRCU behind it,
// since FreeRCU may wait for a grace period. One goroutine at a time should sweep from one cursor.
// It costs a lock for each entry beside what Scan costs.
func (m *Map) Sweep(c Cursor, n int, condition func(Item) bool) (next Cursor, deleted int, bytes int64) {
	var few [16]*entry
	gone := few[:0] // unlinked, so that this goroutine alone may free them
	section := m.domain.Enter()
	next = m.Scan(c, n, func(i Item) {
		if m.unlinkIf(i.e, condition) {
			gone = append(gone, i.e)
		}
	})
	section.Exit()
	for _, e := range gone {
		bytes += int64(m.Footprint(Item{e}))
		m.freeRCU(e)
	}
	return next, len(gone), bytes
}

// unlinkIf takes an entry out of the list if it is still there and condition agrees, and reports
// whether it has. Preconditions:
//   - the caller is in a section, and has found e there.
func (m *Map) unlinkIf(e *entry, condition func(Item) bool) bool {
	hash := bits.Reverse64(e.order) // except two bits, which choose neither slot nor stripe
	s := m.stripeOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, now := m.find(hash, stringOf(e.key()))
	if now != e || !condition(Item{e}) {
		return false
	}
	s.unlink(at, e)
	return true
}
