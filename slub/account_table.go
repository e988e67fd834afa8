package slub

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// A reference, which objects have in their Exts, is the number of an Account above the slot that
// the object has in it.
const (
	slotBits = 30
	maxSlots = 1 << slotBits // of one Account
	slotMask = maxSlots - 1

	// There are numbers for four million Accounts that have objects at once.
	chunkBits = 11
	maxChunks = 1 << 11
)

// accounts has the Accounts that have allocated anything, until they are closed and what was
// charged to them is free.
var accounts accountTable

// An accountTable finds Accounts by their numbers. A number belongs to its Account as long as an
// object refers to it, so what has an object's reference finds the right one, without a lock.
// Afterwards it is used again. A chunk that becomes empty is dropped, unless it is the only one
// that has a free entry.
type accountTable struct {
	mu      sync.Mutex // a leaf
	partial []*accountChunk
	unused  []uint32 // numbers of chunks that were dropped
	next    uint32   // number of the first chunk that was never made
	count   int

	chunks [maxChunks]atomic.Pointer[accountChunk] // stored under mu
}

// An accountChunk has the Accounts with adjacent numbers.
type accountChunk struct {
	number uint32
	place  int      // in accountTable.partial, if some entry is free
	free   []uint32 // entries that are free

	entries [1 << chunkBits]atomic.Pointer[accountState] // stored under mu
}

// add gives an Account a number, which is not 0. Errors: ErrNoMemory, if all are in use.
func (t *accountTable) add(s *accountState) (number uint32, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.partial) == 0 && !t.addChunk() {
		return 0, fmt.Errorf("%w: %d accounts have objects", ErrNoMemory, t.count)
	}
	c := t.partial[len(t.partial)-1]
	last := len(c.free) - 1
	i := c.free[last]
	if c.free = c.free[:last]; last == 0 {
		t.partial = t.partial[:len(t.partial)-1]
	}
	c.entries[i].Store(s)
	t.count++
	return c.number<<chunkBits | i, nil
}

// addChunk makes a chunk. The caller holds mu.
func (t *accountTable) addChunk() (ok bool) {
	c := new(accountChunk)
	if last := len(t.unused) - 1; last >= 0 {
		c.number, t.unused = t.unused[last], t.unused[:last]
	} else if t.next < maxChunks {
		c.number = t.next
		t.next++
	} else {
		return false
	}
	for i := uint32(len(c.entries)) - 1; i > 0; i-- {
		c.free = append(c.free, i)
	}
	if c.number != 0 {
		c.free = append(c.free, 0) // number 0 is no Account's
	}
	t.chunks[c.number].Store(c)
	t.enlist(c)
	return true
}

// enlist puts a chunk on the list of those with a free entry. The caller holds mu.
func (t *accountTable) enlist(c *accountChunk) {
	c.place = len(t.partial)
	t.partial = append(t.partial, c)
}

// at returns the Account with a number that an object refers to.
func (t *accountTable) at(number uint32) *accountState {
	if c := t.chunks[number>>chunkBits%maxChunks].Load(); c != nil {
		return c.entries[number%(1<<chunkBits)].Load()
	}
	return nil
}

// remove takes back a number to which nothing refers any more.
func (t *accountTable) remove(number uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, i := t.chunks[number>>chunkBits].Load(), number%(1<<chunkBits)
	c.entries[i].Store(nil)
	t.count--
	if len(c.free) == 0 {
		t.enlist(c)
	}
	c.free = append(c.free, i)
	if empty := len(c.free) == len(c.entries) || c.number == 0 && len(c.free) == len(c.entries)-1; !empty || len(t.partial) == 1 {
		return
	}
	last := t.partial[len(t.partial)-1]
	t.partial[c.place], last.place = last, c.place
	t.partial[len(t.partial)-1] = nil
	t.partial = t.partial[:len(t.partial)-1]
	t.chunks[c.number].Store(nil)
	t.unused = append(t.unused, c.number)
}

// uncharge ends the charge of an object that has been freed otherwise than by its Account.
func (t *accountTable) uncharge(ref uint64, bytes int64) {
	if s := t.at(uint32(ref >> slotBits)); s != nil {
		s.unchargeRemote(bytes)
	}
}

// name returns the name of the Account of a reference, for diagnosis.
func (t *accountTable) name(ref uint64) (name string, ok bool) {
	if ref>>slotBits == 0 { // none, or a call site
		return "", false
	}
	s := t.at(uint32(ref >> slotBits))
	if s == nil {
		return "", false
	}
	return s.name, true
}
