package heap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/tables"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/slub"
)

// object is what gc and resident keep: workload.HeapSize bytes without pointers.
type object struct {
	value [workload.HeapSize / 8]uint64
}

// node is object with a link for the Go heap.
type node struct {
	next  *node
	value [workload.HeapSize/8 - 1]uint64
}

// refNode is node off-heap: its link is a handle that the collector ignores.
type refNode struct {
	next  slub.Ref[refNode]
	value [workload.HeapSize/8 - 1]uint64
}

// Population keeps objects alive for collections to find.
type Population struct {
	// root is a []*object, *node, []slub.Ref[object], slub.Ref[refNode] or tables.Table.
	root any
}

// Build allocates live objects. Automatic collections stay off from here on:
// they would slow the building, and Collect forces its own.
func Build(alloc string, kind workload.Kind, live int) (*Population, error) {
	debug.SetGCPercent(-1)
	build := builder(alloc, kind)
	if build == nil {
		return nil, fmt.Errorf("no population for allocator %s and workload %s", alloc, kind)
	}
	root, err := build(live)
	return &Population{root}, err
}

// builder returns what makes a population, nil if there is no such one.
func builder(alloc string, kind workload.Kind) func(live int) (root any, err error) {
	switch kind {
	case workload.GC:
		switch alloc {
		case workload.Go:
			return goSlice
		case workload.Slubd:
			return slubdSlice
		}
	case workload.GCLinked:
		switch alloc {
		case workload.Go:
			return goList
		case workload.Slubd:
			return slubdList
		}
	case workload.GCMap:
		switch alloc {
		case workload.Slubd, workload.SyncMap, workload.Sharded:
			return filled(alloc)
		}
	}
	return nil
}

func goSlice(live int) (any, error) {
	list := make([]*object, live)
	for i := range list {
		list[i] = &object{}
		list[i].value[0] = uint64(i)
	}
	return list, nil
}

func goList(live int) (any, error) {
	var head *node
	for i := range live {
		head = &node{next: head}
		head.value[0] = uint64(i)
	}
	return head, nil
}

func slubdSlice(live int) (any, error) {
	cache, err := slub.NewTyped[object](nil, slub.Config{Name: "bench-gc", Flags: slub.NoMerge})
	if err != nil {
		return nil, err
	}
	list := make([]slub.Ref[object], live)
	for i := range list {
		p, err := cache.Alloc()
		if err != nil {
			return nil, err
		}
		p.value[0] = uint64(i)
		list[i] = cache.Ref(p)
	}
	return list, nil
}

func slubdList(live int) (any, error) {
	cache, err := slub.NewTyped[refNode](nil, slub.Config{Name: "bench-gc-linked", Flags: slub.NoMerge})
	if err != nil {
		return nil, err
	}
	var head slub.Ref[refNode]
	for i := range live {
		p, err := cache.Alloc()
		if err != nil {
			return nil, err
		}
		p.next = head
		p.value[0] = uint64(i)
		head = cache.Ref(p)
	}
	return head, nil
}

// filled makes a map with that many keys, whose values are as large as an object.
func filled(entrant string) func(int) (any, error) {
	return func(live int) (any, error) {
		table, err := tables.Open(entrant)
		if err != nil {
			return nil, err
		}
		v := table.View()
		defer v.Close()
		var value [workload.HeapSize]byte
		for i, key := range tables.Keys(live) {
			binary.LittleEndian.PutUint64(value[:], uint64(i))
			if err := v.Put(key, value[:]); err != nil {
				return nil, err
			}
		}
		return table, nil
	}
}

// errLost reports a population whose objects don't hold what was stored.
var errLost = errors.New("live objects lost their contents")

// Check reads the population back: live objects with their numbers in them.
func (p *Population) Check(live int) error {
	sum, want := 0, live*(live-1)/2
	switch root := p.root.(type) {
	case []*object:
		for _, o := range root {
			sum += int(o.value[0])
		}
	case *node:
		for n := root; n != nil; n = n.next {
			sum += int(n.value[0])
		}
	case []slub.Ref[object]:
		for _, r := range root {
			sum += int(r.Ptr().value[0])
		}
	case slub.Ref[refNode]:
		for r := root; !r.IsNil(); r = r.Ptr().next {
			sum += int(r.Ptr().value[0])
		}
	case tables.Table:
		v := root.View()
		defer v.Close()
		for _, key := range tables.Keys(live) {
			word, _ := v.Get(key)
			sum += int(word)
		}
	}
	if sum != want {
		return fmt.Errorf("%w: sum of numbers %d, stored %d", errLost, sum, want)
	}
	return nil
}
