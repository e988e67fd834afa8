//go:build !race

package slub_test

import (
	"fmt"
	"os"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// TestNUMAPolicies asks the kernel where the objects of arenas with a policy lie. AllocNode, which
// can't tell there, fails.
func TestNUMAPolicies(t *testing.T) {
	topology, memory := machine(t)
	first, last := memory[0], memory[len(memory)-1]
	weights := map[numa.Node]int{first: 3, last: 1} // of numbers of objects
	weighted := len(memory) > 1 && setWeights(t, weights)
	for _, c := range []struct {
		mode  numa.Mode
		nodes []numa.Node
		want  map[numa.Node]int
	}{
		{numa.Interleave, []numa.Node{first, last}, map[numa.Node]int{first: 1, last: 1}},
		{numa.WeightedInterleave, []numa.Node{first, last}, weights},
		{numa.Preferred, []numa.Node{last}, map[numa.Node]int{last: 1}},
	} {
		a := newArena(t, arena.Config{Topology: topology, HugePages: arena.HugeNever, Policy: c.mode, PolicyNodes: c.nodes})
		t.Log(a.Stats().Nodes[0].Placement)
		ch := open(t, a, slub.Config{Size: 4096})
		const n = 1200
		var addrs []uintptr
		objs := take(t, ch, n)
		for _, p := range objs {
			*(*byte)(p) = 1
			addrs = append(addrs, uintptr(p))
		}
		got, sum := map[numa.Node]int{}, 0
		for _, node := range nodesOf(t, addrs) {
			got[node]++
		}
		for _, weight := range c.want {
			sum += weight
		}
		if c.mode == numa.WeightedInterleave && !weighted {
			t.Logf("no weights here: %v", got)
		} else {
			for node, weight := range c.want {
				if share := n * weight / sum; len(memory) > 1 && (got[node] < share*9/10 || got[node] > share*11/10) {
					t.Errorf("%v: %v, want about %d on node %d", c.mode, got, share, node)
				}
			}
		}
		ch.FreeBulk(objs)
		p, err := ch.AllocNode(first)
		if len(memory) == 1 {
			same(t, "AllocNode on a machine with one node", err, nil)
			ch.FreeBulk([]unsafe.Pointer{p})
		} else {
			same(t, "AllocNode", err, slub.ErrPlacement)
			_, err = ch.PrefillNode(1, last)
			same(t, "PrefillNode", err, slub.ErrPlacement)
		}
	}
}

// setWeights sets the machine's weights until the test ends, and reports whether the kernel has
// some and the process may.
func setWeights(t *testing.T, weights map[numa.Node]int) bool {
	t.Helper()
	for node, weight := range weights {
		file := fmt.Sprintf("/sys/kernel/mm/mempolicy/weighted_interleave/node%d", node)
		before, err := os.ReadFile(file)
		if err != nil || os.WriteFile(file, []byte(fmt.Sprint(weight)), 0) != nil {
			return false
		}
		t.Cleanup(func() { same(t, "restoring a weight", os.WriteFile(file, before, 0), nil) })
	}
	return true
}
