package main

import (
	"fmt"
	"time"
)

// A store keeps keys and values. Any goroutine may call its methods, except that close comes last.
// Times are Unix milliseconds, and a deadline of 0 is none. A key whose deadline is not after now
// is not there, whether or not its memory has been freed.
//
// The three stores run the same commands on the same connections, so what differs between them is
// where the data lies.
type store interface {
	// get appends a key's value to dst as a bulk string, and reports whether the key is there.
	get(dst, key []byte, now int64) (reply []byte, found bool)
	// update has u decide what becomes of a key, with room for a new value. Nothing comes between
	// what u sees and what it decides. On error nothing has changed.
	update(key []byte, room int, now int64, u updater) error
	// remove deletes a key and reports whether it was there.
	remove(key []byte, now int64) bool
	// deadline returns the deadline of a key, and whether the key is there.
	deadline(key []byte, now int64) (deadline int64, found bool)
	// setDeadline changes the deadline of a key if the key is there and allowed agrees, which is
	// shown the old deadline, and reports whether it has. A deadline that is not after now deletes
	// the key. Nothing comes between what allowed sees and the change. It must not block or call
	// the store.
	setDeadline(key []byte, now, deadline int64, allowed func(old int64) bool) (done bool)
	// size returns the bytes of memory that a key takes, and whether it is there.
	size(key []byte, now int64) (bytes int, found bool)
	// scan shows about n keys behind a cursor to visit, as Redis's SCAN does, and fewer if visit
	// wants no more. The cursor 0 is the beginning and the end. more is false at the end, and if
	// visit has said so. visit must not keep the key.
	scan(cursor uint64, n int, now int64, visit func(key []byte) (more bool)) (next uint64, more bool)
	// expire looks at about n entries, going on where the last call has stopped, and frees those
	// that have expired. Only one goroutine at a time calls it.
	expire(n int, now int64) (seen, expired int)
	// len returns the number of entries, those included that have expired and are not freed.
	len() int
	// clear deletes everything that is there all the time.
	clear()
	// memory says what the store takes; setLimit changes what it may take, 0 is no limit.
	memory() memory
	setLimit(bytes int64) error
	// close frees everything. The error says what was lost, if anything was.
	close() error
}

// An updater decides what becomes of a key. change is shown the old value, nil if the key is not
// there, and its deadline. It may write a value into fresh, whose length it returns with the new
// deadline. It must not block or call the store.
type updater interface {
	change(old []byte, deadline int64, fresh []byte) (what verdict, n int, newDeadline int64)
}

type verdict uint8

const (
	keep verdict = iota
	replace
)

// memory is what a store takes, in bytes.
type memory struct {
	used    int64 // for keys, values, index, and what the store keeps to use again
	data    int64 // of that in entries
	waiting int64 // of that freed, but perhaps read by a client
	limit   int64 // on used; 0 is none
	evicted uint64
}

// newStore makes the store that the options name.
func newStore(o options) (store, error) {
	switch o.store {
	case "slubd":
		return newSlubdStore(o)
	case "heap":
		return refuse(newHeapStore(), o)
	case "syncmap":
		return refuse(newSyncStore(), o)
	}
	return nil, fmt.Errorf("-store: %q is none of slubd, heap, syncmap", o.store)
}

// refuse returns an error for options that stores on the Go heap don't have.
func refuse(s store, o options) (store, error) {
	if o.record != "" {
		return nil, fmt.Errorf("-record: the store %s has nothing to record", o.store)
	}
	if err := s.setLimit(o.limit); err != nil {
		return nil, fmt.Errorf("-limit: %w", err)
	}
	return s, nil
}

// expired reports whether a deadline has come.
func expired(deadline, now int64) bool { return deadline != 0 && deadline <= now }

func unixMilli() int64 { return time.Now().UnixMilli() }
