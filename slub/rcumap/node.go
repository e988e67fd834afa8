package rcumap

import (
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/rcu"
)

// This file alone knows the layout of memory; the other files do not need unsafe.

// node is an element of the list: a slot of the table, or the start of an entry. It holds no Go
// pointers, because the collector does not scan off-heap memory; rcu.Pointer is not one.
type node struct {
	next  rcu.Pointer[node]
	order uint64 // constant once linked; even: a slot, odd: an entry
}

const nodeSize = int(unsafe.Sizeof(node{}))

// entry is followed by the bytes of the key and then those of the value. Once it is linked, only
// next and word change.
type entry struct {
	node
	keyLen, valueLen uint32
	word             atomic.Uint64 // the program's, see Item.Word
}

const entrySize = int(unsafe.Sizeof(entry{}))

// slotAt returns slot i of an array of slots that starts at first.
func slotAt(first *node, i uint64) *node {
	return (*node)(unsafe.Add(unsafe.Pointer(first), i*uint64(nodeSize)))
}

func (n *node) pointer() unsafe.Pointer { return unsafe.Pointer(n) }

func (n *node) isEntry() bool { return n.order&1 != 0 && n.order != math.MaxUint64 }

// entry returns the entry that starts with n. Preconditions:
//   - n.isEntry().
func (n *node) entry() *entry { return (*entry)(unsafe.Pointer(n)) }

func (e *entry) bytes(from, n uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(e), uintptr(entrySize)+uintptr(from))), n)
}

func (e *entry) key() []byte { return e.bytes(0, e.keyLen) }

// value has no capacity beyond its length, so append copies it to the Go heap.
func (e *entry) value() []byte { return e.bytes(e.keyLen, e.valueLen) }

// newEntry makes an entry that is not linked yet. Its value has the given number of bytes, which
// the caller writes.
func (m *Map) newEntry(order uint64, key string, valueLen int) (*entry, error) {
	if uint64(len(key)) > math.MaxUint32 || uint64(valueLen) > math.MaxUint32 {
		return nil, ErrTooLong
	}
	p, err := m.memory.Malloc(entrySize + len(key) + valueLen)
	if err != nil {
		return nil, err
	}
	e := (*entry)(p)
	e.order, e.keyLen, e.valueLen = order, uint32(len(key)), uint32(valueLen)
	e.word.Store(0)
	copy(e.key(), key)
	return e, nil
}

// stringOf returns the bytes of a key as a string, for as long as the caller's call lasts: the
// map keeps no key that it is given.
func stringOf(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }
