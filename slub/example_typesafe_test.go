package slub_test

import (
	"fmt"
	"log"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// A conn is in use while refs isn't 0. Lookups may look at any conn's words at any time, also at a
// free one's: hence the atomics, and a constructor, which runs before the first lookup can.
type conn struct {
	refs atomic.Int64
	key  atomic.Uint64
}

type connTable struct {
	conns *slub.Typed[conn]
	slots [64]atomic.Pointer[conn]
}

func (t *connTable) slot(key uint64) *atomic.Pointer[conn] { return &t.slots[key%64] }

func (t *connTable) put(c *conn) {
	if c.refs.Add(-1) == 0 {
		t.conns.Free(c) // at once: the next Alloc may have it
	}
}

// lookup finds the conn with that key, without a lock, and takes a reference.
func (t *connTable) lookup(key uint64) *conn {
	c := t.slot(key).Load()
	if c == nil {
		return nil
	}
	// c may be freed here, and be another conn by now; but it is a conn.
	for n := c.refs.Load(); n != 0; n = c.refs.Load() {
		if c.refs.CompareAndSwap(n, n+1) {
			if c.key.Load() == key {
				return c
			}
			t.put(c) // another by now, and ours to release
			return nil
		}
	}
	return nil
}

// Lookups without a lock of objects that are freed at once: what TypesafeByRCU is for.
func ExampleConfig_typesafeByRCU() {
	domain := new(rcu.Domain)
	conns, err := slub.NewTyped[conn](nil, slub.Config{Name: "conn", Flags: slub.TypesafeByRCU, Domain: domain,
		Ctor: func(p unsafe.Pointer) { (*conn)(p).refs.Store(0) }})
	if err != nil {
		log.Fatal(err)
	}
	table := &connTable{conns: conns}

	c, err := conns.Alloc()
	if err != nil {
		log.Fatal(err)
	}
	c.key.Store(7) // before refs, which makes it visible to lookups that still hold it
	c.refs.Store(1)
	table.slot(7).Store(c)

	reader := domain.Register("reader")
	found := table.lookup(7)
	reader.Quiescent() // found has a reference, which outlives the section
	fmt.Println("found", found.key.Load(), "with", found.refs.Load(), "references")

	table.slot(7).Store(nil)
	table.put(c)
	table.put(found)
	fmt.Println("gone:", table.lookup(7) == nil)
	reader.Close()
	fmt.Println("closed:", conns.Close())
	// Output:
	// found 7 with 2 references
	// gone: true
	// closed: <nil>
}
