// Package tables holds the maps that rcu-map and gc-map compare: the off-heap map of
// examples/rcu-map, sync.Map, and a map in shards. All have strings as keys and bytes as
// values, and whoever looks a key up reads the first word of its value.
//
//	Open -> Table -> View, one per goroutine -> Get, Put, Delete
//
// The calls go through an interface, which adds the same nanosecond or two to each.
package tables

import (
	"encoding/binary"
	"fmt"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Table is a map. Its methods may be called by any goroutine; Close comes last.
type Table interface {
	View() View
	Len() int
	Close() error
}

// View is what one goroutine uses a Table through.
type View interface {
	// Get returns the first word of a key's value, which has one.
	Get(key string) (first uint64, found bool)
	// Put stores a copy of value, and of the key if that is new: keys come from requests,
	// whose buffers are used again.
	Put(key string, value []byte) error
	Delete(key string)
	Close()
}

// Open makes the map that an entrant stands for.
func Open(entrant string) (Table, error) {
	switch entrant {
	case workload.Slubd:
		return openOffHeap()
	case workload.SyncMap:
		return new(syncMap), nil
	case workload.Sharded:
		return newSharded(), nil
	}
	return nil, fmt.Errorf("%s is no map", entrant)
}

// Keys returns the names of n keys.
func Keys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("key %010d", i)
	}
	return keys
}

func first(value []byte) uint64 { return binary.LittleEndian.Uint64(value) }
