package numa

import (
	"slices"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// In a restricted topology the other nodes have no memory, and their CPUs allocate from the nearest
// that has some.
func TestRestrict(t *testing.T) {
	all, err := LoadFS(testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 1 << 30, Distance: []int{10, 20, 30, 40}},
		testutil.SysNode{ID: 1, CPUs: []int{1}, Memory: 1 << 30, Distance: []int{20, 10, 40, 30}},
		testutil.SysNode{ID: 2, CPUs: []int{2}, Distance: []int{30, 40, 10, 20}},
		testutil.SysNode{ID: 5, Memory: 1 << 30, Distance: []int{40, 30, 20, 10}},
	))
	if err != nil {
		t.Fatal(err)
	}
	for _, same := range [][]Node{nil, {2}, {7}, {0, 1, 5}, {0, 1, 2, 5, 9}} {
		if all.Restrict(same) != all {
			t.Errorf("restricted to %v it is another topology", same)
		}
	}
	r := all.Restrict([]Node{1, 5})
	if r.HasMemory(0) || !r.HasMemory(1) || r.HasMemory(2) || !r.HasMemory(5) || !all.HasMemory(0) {
		t.Error("restricted to nodes 1 and 5, others have memory, or these have none")
	}
	for cpu, want := range []Node{1, 1, 5} {
		if got := r.LocalNode(cpu); got != want {
			t.Errorf("CPU %d allocates from node %d, want %d", cpu, got, want)
		}
	}
	if got := r.Fallback(0); !slices.Equal(got, []Node{1, 5}) {
		t.Errorf("node 0 takes from %v", got)
	}
	if !slices.Equal(r.Nodes(), all.Nodes()) || r.Distance(0, 5) != 40 || r.Source() != all.Source() {
		t.Error("more than the memory has changed")
	}
	if got := all.Fallback(0); !slices.Equal(got, []Node{0, 1, 5}) {
		t.Errorf("the whole topology has changed: node 0 takes from %v", got)
	}
}
