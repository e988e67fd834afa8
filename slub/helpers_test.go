package slub

import (
	"errors"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

const mib = 1 << 20

// smallArena is the config of an arena for tests that don't care.
var smallArena = arena.Config{}

// newArena makes an arena with a small range. It must be empty when the test ends:
// every cache gave back every slab.
func newArena(t testing.TB, cfg arena.Config) *arena.Arena {
	t.Helper()
	if cfg.Span == 0 {
		cfg.Span = 32 * mib
	}
	a, err := arena.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			return // what is left then says nothing new
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// open makes a cache in an arena of its own, unless a is given. It must close
// without a leak when the test ends.
func open(t testing.TB, a *arena.Arena, cfg Config) *Cache {
	t.Helper()
	if a == nil {
		a = newArena(t, arena.Config{})
	}
	c, err := New(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return c
}

// fakeNodes is a topology of so many nodes with memory, over which the machine's
// CPUs are dealt out; where there are more nodes than CPUs the last have none.
func fakeNodes(t testing.TB, nodes int) *numa.Topology {
	t.Helper()
	list := make([]testutil.SysNode, nodes)
	for i := range list {
		list[i] = testutil.SysNode{ID: i, Memory: 1 << 30}
	}
	for cpu := range numa.System().NumCPU() {
		n := &list[cpu%nodes]
		n.CPUs = append(n.CPUs, cpu)
	}
	topology, err := numa.LoadFS(testutil.SysFS(list...))
	if err != nil {
		t.Fatal(err)
	}
	return topology
}

// take allocates n objects one by one.
func take(t testing.TB, c *Cache, n int) []unsafe.Pointer {
	t.Helper()
	ps := make([]unsafe.Pointer, n)
	for i := range ps {
		p, err := c.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		ps[i] = p
	}
	return ps
}

func freeAll(c *Cache, ps []unsafe.Pointer) {
	for _, p := range ps {
		c.Free(p)
	}
}

// counter reads one of the counters that Stats doesn't show.
func (c *Cache) counter(e Event) int64 { return int64(c.slabs.counters.Sum(int(e))) }

// same fails the test unless err is want.
func same(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
