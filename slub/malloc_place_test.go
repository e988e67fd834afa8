package slub_test

import (
	"math/rand/v2"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// MallocNode returns memory of the node that was asked for, for every kind of object, and does not
// fall back.
func TestMallocNode(t *testing.T) {
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 2), Span: 64 * mib})
	b := openBuckets(t, a, slub.BucketsConfig{})
	for kind, n := range kinds {
		for _, node := range a.Topology().Nodes() {
			for range 5 {
				p, err := b.MallocNode(n, node)
				same(t, "MallocNode", err, nil)
				if kind != "mapping" && a.NodeOf(uintptr(p)) != node {
					t.Errorf("a %s for node %d is on node %d", kind, node, a.NodeOf(uintptr(p)))
				}
				b.Free(p)
			}
		}
		_, err := b.MallocNode(n, 77)
		same(t, "MallocNode of no node", err, slub.ErrNode)
		p, err := b.MallocNode(n, numa.NoNode)
		same(t, "MallocNode of any node", err, nil)
		b.Free(p)
	}
	_, err := b.MallocNode(-1, 0)
	same(t, "MallocNode of -1 bytes", err, slub.ErrSize)
	p, err := b.MallocNode(0, 1)
	if p != malloc(t, b, 0) || err != nil {
		t.Errorf("no bytes are %p, %v", p, err)
	}
	node := a.Topology().Nodes()[1]
	for {
		p, err := b.MallocNode(2*mib, node)
		if err != nil {
			same(t, "MallocNode of a full node", err, slub.ErrNoMemory)
			break
		}
		if a.NodeOf(uintptr(p)) != node {
			t.Fatal("falls back to another node")
		}
		defer b.Free(p)
	}
}

// MallocAligned returns what it says for every alignment, from the smallest class that can.
func TestMallocAligned(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{})
	rng := rand.New(rand.NewPCG(testutil.Seed(t), 0))
	sizes := append([]int{0, 1}, boundaries...)
	for range 500 {
		sizes = append(sizes, 1+rng.IntN(maxClass))
	}
	for _, n := range sizes {
		for align := 1; align <= 4096; align *= 2 {
			p, err := b.MallocAligned(n, align)
			same(t, "MallocAligned", err, nil)
			if uintptr(p)%uintptr(align) != 0 || b.Size(p) < n {
				t.Fatalf("%d bytes aligned to %d are %d at %p", n, align, b.Size(p), p)
			}
			if room := b.Size(p); room <= maxClass {
				for _, size := range slub.Classes() {
					if size >= n && size < room && classAlign(uintptr(size)) >= uintptr(align) {
						t.Fatalf("%d bytes aligned to %d take %d, not %d", n, align, room, size)
					}
				}
			}
			b.Free(p)
		}
	}
	for _, align := range []int{-8, 0, 3, 24, 8192} {
		_, err := b.MallocAligned(64, align)
		same(t, "MallocAligned", err, slub.ErrConfig)
	}
	_, err := b.MallocAligned(-1, 8)
	same(t, "MallocAligned of -1 bytes", err, slub.ErrSize)
}

// Classes are the sizes that objects have.
func TestClasses(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{})
	sizes, last := slub.Classes(), 0
	for _, size := range sizes {
		p, q := malloc(t, b, last+1), malloc(t, b, size)
		if b.Size(p) != size || b.Size(q) != size {
			t.Errorf("%d and %d bytes have %d and %d", last+1, size, b.Size(p), b.Size(q))
		}
		b.Free(p)
		b.Free(q)
		last = size
	}
	sizes[0] = 0
	if slub.Classes()[0] == 0 {
		t.Error("a caller can change the classes")
	}
}
