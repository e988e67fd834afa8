package arena

import (
	"slices"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// Each node's part of the range follows its memory, within what the range can have.
func TestDivide(t *testing.T) {
	const tib = 1 << 40
	for name, c := range map[string]struct {
		wants []int64
		least []int64 // bytes that the nodes must have at least
	}{
		"16 nodes of 1 TB":          {wants: slices.Repeat([]int64{2 * tib}, 16), least: slices.Repeat([]int64{960 * gib}, 16)},
		"a small CXL node":          {wants: []int64{4 * tib, 4 * tib, 64 * gib}, least: []int64{4 * tib, 4 * tib, 64 * gib}},
		"a large CXL node":          {wants: []int64{gib, gib, 12 * tib}, least: []int64{gib, gib, 12 * tib}},
		"too much, and a small one": {wants: []int64{16 * tib, 16 * tib, 2 * gib}, least: []int64{7900 * gib, 7900 * gib, gib}},
		"equal":                     {wants: slices.Repeat([]int64{32 * gib}, 4), least: slices.Repeat([]int64{32 * gib}, 4)},
		"odd":                       {wants: []int64{3 * gib, 5*gib + 1, gib}, least: []int64{3 * gib, 5*gib + 1, gib}},
		"256 nodes":                 {wants: slices.Repeat([]int64{gib}, 256), least: slices.Repeat([]int64{gib}, 256)},
	} {
		l := divide(c.wants, maxRange)
		if l.part < maxRun || l.part&(l.part-1) != 0 || l.size() > maxRange || len(l.counts) != len(c.wants) || len(l.owners()) > maxParts+len(c.wants) {
			t.Errorf("%s: %d bytes in parts of %d, %v", name, l.size(), l.part, l.counts)
		}
		for i, n := range l.counts {
			if got := int64(n) * int64(l.part); got < c.least[i] || got > max(c.wants[i], maxRun)+int64(l.part) {
				t.Errorf("%s: node %d has %d bytes, wants %d, and at least %d", name, i, got, c.wants[i], c.least[i])
			}
		}
		for half := l; half.largest() > maxRun; {
			next := half.halved()
			if next.size() >= half.size() || next.size() < half.size()/3 || slices.Min(next.counts) < 1 {
				t.Fatalf("%s: half of %v is %v", name, half, next)
			}
			half = next
		}
	}
}

// uneven makes a topology of nodes of 3, 1, 0 and 20 GiB.
func uneven(t *testing.T) *numa.Topology {
	return load(t, testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 3 * gib},
		testutil.SysNode{ID: 1, CPUs: []int{1}, Memory: gib},
		testutil.SysNode{ID: 4, CPUs: []int{2}},
		testutil.SysNode{ID: 7, Memory: 20 * gib},
	))
}

// Every address belongs to the node whose part it lies in, and every run lies in its node's part,
// also in a range that an arena of the same layout had before.
func TestUnequalParts(t *testing.T) {
	if heapBacked {
		return // parts are equal
	}
	topo := uneven(t)
	for range 2 {
		a, err := New(Config{Topology: topo, Decay: None, Strictness: numa.Off})
		if err != nil {
			t.Fatal(err)
		}
		want := []int64{6 * gib, 2 * gib, gib, 40 * gib}
		next, pages := a.Base(), uint32(0)
		for i, n := range a.Stats().Nodes {
			if n.Reserved < want[i] || n.Reserved > want[i]+want[i]/8 {
				t.Errorf("node %d has %d bytes, want %d", n.Node, n.Reserved, want[i])
			}
			for _, addr := range []uintptr{next, next + uintptr(n.Reserved)/2, next + uintptr(n.Reserved) - 1} {
				if a.NodeIndex(addr) != i || a.NodeOf(addr) != n.Node {
					t.Errorf("%#x belongs to node %d, want %d", addr, a.NodeOf(addr), n.Node)
				}
			}
			next += uintptr(n.Reserved)
			pages += uint32(n.Reserved / 4096)
			run := alloc(t, a, MaxOrder, n.Node)
			words(a, run)[0] = 1
			if a.NodeOf(a.Addr(run.Page)) != n.Node || a.NodeOf(a.Addr(run.Page+run.Pages-1)) != n.Node {
				t.Errorf("a run for node %d lies at %#x", n.Node, a.Addr(run.Page))
			}
			a.Free(run.Page)
		}
		if pages != a.Pages() || a.NodeIndex(next) != -1 || a.NodeIndex(a.Base()-1) != -1 || a.Span() < want[3] {
			t.Errorf("%d pages in parts, %d in all, span %d", pages, a.Pages(), a.Span())
		}
		check(a)
		base := a.Base()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		again := open(t, Config{Topology: topo, Span: 8 * mib})
		if again.Base() == base {
			t.Error("an arena with equal parts has the range of one with others")
		}
	}
}
