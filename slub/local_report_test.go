//go:build !race && !asan

package slub

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// A report that doesn't return, about what an operation of a Local flushes, loses nothing: neither
// the object that is freed nor those that the Local holds. The links of one object in each slab are
// damaged, which is reported when the slab's last object comes back.
func TestLocalReportThatPanics(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	stay(t)
	const room, slabs = 100, 100
	for name, test := range map[string]struct {
		most int          // objects that are freed before the operation
		run  func(*Local) // the operation
	}{
		"Free":  {10 * room, func(*Local) {}},
		"Flush": {room, (*Local).Flush},
		"Close": {room, (*Local).Close},
		"Alloc": {room, func(l *Local) {
			l.state.refuse()
			p, err := l.Alloc()
			same(t, "Alloc", err, nil)
			l.state.cache.FreeDeferred(p)
		}},
	} {
		c := openDamaged(t, Config{Hardened: None})
		var damaged, rest []unsafe.Pointer
		for i, p := range take(t, c.Cache, slabs*c.perSlab) {
			if i%c.perSlab == 0 {
				damaged = append(damaged, p)
			} else {
				rest = append(rest, p)
			}
		}
		c.returnBulk(damaged)
		for _, p := range damaged {
			*(*uintptr)(unsafe.Add(p, c.layout.fp)) ^= 1 << 13 // out of the slab
		}
		setHooks(t, c.Cache, hooks.Hooks{})
		panics := 0
		for len(rest) > 0 {
			l, err := c.NewLocal(room)
			same(t, "NewLocal", err, nil)
			n := min(test.most, len(rest))
			for _, p := range rest[:n] {
				if !returns(func() { l.Free(p) }) && name == "Free" {
					panics++
				}
			}
			rest = rest[n:]
			if !returns(func() { test.run(l) }) {
				panics++
			}
			returns(l.Close)
		}
		for !returns(func() { c.Shrink() }) {
		}
		if s := c.Stats(); panics == 0 || s.IsolatedSlabs != slabs {
			t.Errorf("%s: %d reports; all objects of %d slabs have come back, want %d", name, panics, s.IsolatedSlabs, slabs)
		}
	}
}

// The same holds for a Local with objects of several nodes: what comes behind those of the report
// goes to its node.
func TestLocalOfMixedNodesReportThatPanics(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	withoutSamples(t)
	a, err := arena.New(arena.Config{Topology: fakeNodes(t, 2), Span: 32 * mib})
	same(t, "New", err, nil)
	c, err := New(a, Config{Name: "mixed", Size: 64, Hardened: None, SheafCapacity: 8})
	same(t, "New", err, nil)
	const slabs = 100 // of each node
	var rest [2][]unsafe.Pointer
	pinned(t, 0, func() {
		for node := range rest {
			for i, p := range onNode(t, c, numa.Node(node), slabs*c.perSlab) {
				if i%c.perSlab > 0 {
					rest[node] = append(rest[node], p)
					continue
				}
				c.returnBulk([]unsafe.Pointer{p})
				*(*uintptr)(unsafe.Add(p, c.layout.fp)) ^= 1 << 13 // out of the slab
			}
		}
		panics := 0
		for len(rest[0]) > 0 {
			l, err := c.NewLocal(100)
			same(t, "NewLocal", err, nil)
			n := min(50, len(rest[0]))
			for node := range rest {
				l.state.own = owner.Of(c.id, node)
				for _, p := range rest[node][:n] {
					if !l.state.push(p) {
						t.Fatal("an object isn't kept")
					}
				}
				rest[node] = rest[node][n:]
			}
			if !returns(l.Flush) {
				panics++
			}
			returns(l.Close)
		}
		for !returns(func() { c.Shrink() }) {
		}
		if s := c.Stats(); panics == 0 || s.IsolatedSlabs != 2*slabs {
			t.Errorf("%d reports; all objects of %d slabs have come back, want %d", panics, s.IsolatedSlabs, 2*slabs)
		}
	})
}
