package offmap

import (
	"math"
	"unsafe"

	"github.com/slubd/slubd/rcu"
)

// This file knows how memory is laid out; the others have no need of unsafe.

// node is what the list is made of: a slot of the table, or the beginning of an entry.
// It holds no Go pointers, since it lies where the collector doesn't look; rcu.Pointer is
// none.
type node struct {
	next  rcu.Pointer[node]
	order uint64 // constant once linked; even: a slot, odd: an entry
}

const nodeSize = int(unsafe.Sizeof(node{}))

// entry is followed by the bytes of the key, then those of the value. All but next is
// constant once linked.
type entry struct {
	node
	keyLen, valueLen uint32
}

const entrySize = int(unsafe.Sizeof(entry{}))

// slotAt returns the i-th of the slots that begin at first.
func slotAt(first *node, i uint64) *node {
	return (*node)(unsafe.Add(unsafe.Pointer(first), i*uint64(nodeSize)))
}

func (n *node) pointer() unsafe.Pointer { return unsafe.Pointer(n) }

func (n *node) isEntry() bool { return n.order&1 != 0 && n.order != math.MaxUint64 }

// entry returns the entry that n is the beginning of. Preconditions:
//   - n.isEntry().
func (n *node) entry() *entry { return (*entry)(unsafe.Pointer(n)) }

func (e *entry) bytes(from, n uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(e), uintptr(entrySize)+uintptr(from))), n)
}

func (e *entry) key() []byte { return e.bytes(0, e.keyLen) }

// value has no capacity beyond its length: append moves it to the Go heap.
func (e *entry) value() []byte { return e.bytes(e.keyLen, e.valueLen) }

// newEntry makes an entry that isn't linked yet.
func (m *Map) newEntry(order uint64, key string, value []byte) (*entry, error) {
	if uint64(len(key)) > math.MaxUint32 || uint64(len(value)) > math.MaxUint32 {
		return nil, ErrTooLong
	}
	p, err := m.memory.Malloc(entrySize + len(key) + len(value))
	if err != nil {
		return nil, err
	}
	e := (*entry)(p)
	e.order, e.keyLen, e.valueLen = order, uint32(len(key)), uint32(len(value))
	copy(e.key(), key)
	copy(e.value(), value)
	return e, nil
}
